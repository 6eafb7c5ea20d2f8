#!/bin/bash
# One SCP02 session, computed by the openssl command and laid out by hand from
# GPC_SPE_034 appendix E: no code of this project. It prints the session as JSON.
#
# scp02-openssl.bash I LEVEL ENC MAC DEK AID KDD VERSION COUNTER CHALLENGE HOST SECRET [PLAIN ANSWER]...
#
# All arguments are lower-case hexadecimal: i, level, the static keys, the AID
# of the security domain, key diversification data (10 bytes), key version,
# sequence counter (2 bytes), card challenge (6 bytes; not used where i says
# that it follows from the AID), host challenge (8 bytes), what is enciphered
# under S-DEK, and short commands without Le, each with the data of its answer,
# which comes with 9000.
set -eu
i=$1 level=$2 enc=$3 mac=$4 dek=$5 aid=$6 kdd=$7 version=$8 counter=$9
shift 9
challenge=$1 host=$2 secret=$3
shift 3

hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { printf "$(printf %s "$1" | sed 's/../\\x&/g')"; }
first() { printf %s "$1" | cut -c "1-$(($2 * 2))"; }
last8() { printf %s "$1" | tail -c 16; }
zero=0000000000000000

cbc() { # key iv data: triple DES with a key of two parts
	bytes "$3" | openssl enc -des-ede-cbc -nopad -K "$1" -iv "$2" | hex
}
single() { # key iv data: DES is triple DES with three equal parts
	cbc "$(first "$1" 8)$(first "$1" 8)" "$2" "$3"
}
pad() {
	d=${1}80
	while [ $((${#d} % 16)) -ne 0 ]; do d=${d}00; done
	printf %s "$d"
}
retail() { # key iv message
	m=$(pad "$3") iv=$2
	if [ ${#m} -gt 16 ]; then
		iv=$(last8 "$(single "$1" "$2" "$(printf %s "$m" | head -c $((${#m} - 16)))")")
	fi
	cbc "$1" "$iv" "$(last8 "$m")"
}
derive() { # key constant
	cbc "$1" $zero "$2${counter}000000000000000000000000"
}
i_has() { [ $((0x$i & $1)) -ne 0 ]; }
has() { [ $((0x$level & $1)) -ne 0 ]; }

if ! i_has 1; then mac=$enc dek=$enc; fi
senc=$(derive "$enc" 0182)
smac=$(derive "$mac" 0101)
srmac=$(derive "$mac" 0102)
sdek=$(derive "$dek" 0181)
if i_has 64; then challenge=$(first "$(retail "$smac" $zero "$aid")" 6); fi

init=8050${version}0008${host}00
reply=$kdd${version}02$counter$challenge$(last8 "$(cbc "$senc" $zero "$(pad "$host$counter$challenge")")")
body=8482${level}0010$(last8 "$(cbc "$senc" $zero "$(pad "$counter$challenge$host")")")
chain=$(retail "$smac" $zero "$body")
authenticate=$body$chain
rchain=$chain

exchanges=
while [ $# -gt 0 ]; do
	plain=$1 answer=$2
	shift 2
	data=${plain:10}
	wrapped=$plain
	if [ -z "$data" ]; then wrapped=${plain:0:8}; fi
	if has 1; then
		icv=$chain
		if i_has 16; then icv=$(single "$smac" $zero "$chain"); fi
		chain=$(retail "$smac" "$icv" "84${plain:2:6}$(printf %02x $((${#data} / 2 + 8)))$data")
		out=$data
		if has 2 && [ -n "$data" ]; then out=$(cbc "$senc" $zero "$(pad "$data")"); fi
		wrapped=84${plain:2:6}$(printf %02x $((${#out} / 2 + 8)))$out$chain
	fi
	protected=$answer
	if has 16; then
		wrapped=${wrapped}00
		rchain=$(retail "$srmac" "$rchain" "$plain$(printf %02x $((${#answer} / 2)))${answer}9000")
		protected=$answer$rchain
	fi
	exchanges="$exchanges${exchanges:+,
  }{\"plain\": \"$plain\", \"wrapped\": \"$wrapped\", \"answer\": \"$answer\", \"protected\": \"$protected\"}"
done

enciphered=$(bytes "$secret" | openssl enc -des-ede -nopad -K "$sdek" | hex)

cat <<JSON
{"source": "openssl, scp02-openssl.bash", "i": "$i", "level": "$level",
 "enc": "$enc", "mac": "$mac", "dek": "$dek", "aid": "$aid",
 "senc": "$senc", "smac": "$smac", "srmac": "$srmac", "sdek": "$sdek",
 "initUpdate": "$init", "initUpdateResponse": "$reply",
 "externalAuthenticate": "$authenticate",
 "secret": "$secret", "enciphered": "$enciphered",
 "exchanges": [
  $exchanges]}
JSON

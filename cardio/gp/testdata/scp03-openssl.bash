#!/bin/bash
# One SCP03 session, computed by the openssl command and laid out by hand from
# GlobalPlatform Amendment D: no code of this project. It prints the session as
# JSON, in the form of the recorded traces in globalplatform.json.
#
# scp03-openssl.bash I LEVEL ENC MAC DEK AID KDD VERSION COUNTER HOST PLAIN ANSWER
#
# All arguments are lower-case hexadecimal: i, level, the static keys, the AID
# of the security domain, key diversification data (10 bytes), key version,
# sequence counter (3 bytes), host challenge, a short command with data and Le,
# and the data of its answer, which comes with 9000.
set -eu
i=$1 level=$2 enc=$3 mac=$4 dek=$5 aid=$6 kdd=$7 version=$8
shift 8
counter=$1 host=$2 plain=$3 answer=$4

hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { printf "$(printf %s "$1" | sed 's/../\\x&/g')"; }
len() { printf %02x $((${#1} / 2 + ${2:-0})); }
first() { printf %s "$1" | cut -c "1-$(($2 * 2))"; }
bits() { printf %d $((${#1} * 4)); }

cmac() { # key message
	bytes "$2" | openssl mac -macopt "cipher:AES-$(bits "$1")-CBC" -macopt "hexkey:$1" -in - CMAC | tr 'A-F' 'a-f'
}
derive() { # key constant bits context
	head=0000000000000000000000$2"00$(printf %04x "$3")"
	first "$(cmac "$1" "${head}01$4")$(cmac "$1" "${head}02$4")" $(($3 / 8))
}
cbc() { # key iv data
	bytes "$3" | openssl enc "-aes-$(bits "$1")-cbc" -nopad -K "$1" -iv "$2" | hex
}
ecb() { # key block
	bytes "$2" | openssl enc "-aes-$(bits "$1")-ecb" -nopad -K "$1" | hex
}
pad() {
	d=${1}80
	while [ $((${#d} % 32)) -ne 0 ]; do d=${d}00; done
	printf %s "$d"
}
has() { [ $((0x$level & $1)) -ne 0 ]; }

n=8
if [ $((0x$i & 1)) -ne 0 ]; then n=16; fi
card=$(derive "$enc" 02 $((n * 8)) "$counter$aid")
context=$host$card
senc=$(derive "$enc" 04 "$(bits "$enc")" "$context")
smac=$(derive "$mac" 06 "$(bits "$mac")" "$context")
srmac=$(derive "$mac" 07 "$(bits "$mac")" "$context")

init=8050${version}00$(len "$host")${host}00
reply=$kdd${version}03$i$card$(derive "$smac" 00 $((n * 8)) "$context")$counter

body=8482${level}00$(printf %02x $((2 * n)))$(derive "$smac" 01 $((n * 8)) "$context")
chain=$(cmac "$smac" "00000000000000000000000000000000$body")
authenticate=$body$(first "$chain" $n)

# The first command of the session: its counter is 1.
data=$(printf %s "$plain" | cut -c "11-$((${#plain} - 2))")
if has 2; then
	data=$(cbc "$senc" "$(ecb "$senc" 00000000000000000000000000000001)" "$(pad "$data")")
fi
body=84$(printf %s "$plain" | cut -c 3-8)$(len "$data" $n)$data
chain=$(cmac "$smac" "$chain$body")
wrapped=$body$(first "$chain" $n)00

out=$answer
if has 32; then
	out=$(cbc "$senc" "$(ecb "$senc" 80000000000000000000000000000001)" "$(pad "$answer")")
fi
if has 16; then
	out=$out$(first "$(cmac "$srmac" "$chain${out}9000")" $n)
fi

cat <<JSON
{"source": "openssl, scp03-openssl.bash", "i": "$i", "level": "$level",
 "enc": "$enc", "mac": "$mac", "dek": "$dek", "aid": "$aid",
 "initUpdate": "$init", "initUpdateResponse": "$reply",
 "externalAuthenticate": "$authenticate",
 "plainCommand": "$plain", "wrappedCommand": "$wrapped",
 "wrappedResponseData": "$out", "status": "9000", "plainResponseData": "$answer"}
JSON

#!/bin/bash
# Signatures, MACs, tokens and receipts of card content management, made by the
# openssl command over messages laid out by hand from GPC_SPE_034 v2.3.1
# appendix C: no code of this project. Prints JSON, with keys made up anew but
# for the secret ones; RSA and EC signatures come out anew each time.
#
# content-openssl.bash BLOCK: a load file data block, in hexadecimal.
set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cd "$folder"
block=$1
aes=404142434445464748494a4b4c4d4e4f des=505152535455565758595a5b5c5d5e5f
file=05f0cb000001 module=06f0cb00000101 app=07f0cb0000010101 domain=06f0cb00000d01 isd=08a000000151000000

hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { printf "$(printf %s "$1" | sed 's/../\\x&/g')"; }
len() { printf %02x $((${#1} / 2)); }
cmac() { bytes "$1" | openssl mac -macopt cipher:AES-128-CBC -macopt "hexkey:$aes" -in - CMAC | tr -d '\n' | tr A-F a-f; }
desmac() {
	d=${1}80
	while [ $((${#d} % 16)) -ne 0 ]; do d=${d}00; done
	bytes "$d" | openssl enc -des-ede-cbc -nopad -K "$des" -iv 0000000000000000 | tail -c 8 | hex
}
rsa() { bytes "$1" | openssl dgst -sha1 -sign rsa.pem | hex; }
ec() {
	bytes "$1" | openssl dgst -sha256 -sign ec.pem >ec.sig
	openssl asn1parse -inform DER -in ec.sig | sed -n 's/.*INTEGER *://p' | while read -r n; do printf %64s "$n" | tr ' ' 0 | tr A-F a-f; done
}
token() { rsa "$1$(len "$2")$2"; } # P1 P2, data before the token
openssl genrsa -out rsa.pem 1024 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
modulus=$(openssl rsa -in rsa.pem -noout -modulus | sed 's/.*=//' | tr A-F a-f)
point=$(openssl ec -in ec.pem -pubout -outform DER 2>/dev/null | tail -c 65 | hex)
sha1=$(bytes "$block" | openssl dgst -sha1 -binary | hex)
sha256=$(bytes "$block" | openssl dgst -sha256 -binary | hex)

unique=0411223344
cat <<JSON
{
 "modulus": "$modulus", "point": "$point", "aes": "$aes", "des": "$des",
 "aes_kcv": "$(bytes 01010101010101010101010101010101 | openssl enc -aes-128-ecb -nopad -K $aes | head -c 3 | hex)",
 "des_kcv": "$(bytes 0000000000000000 | openssl enc -des-ede -nopad -K $des | head -c 3 | hex)",
 "sha1": "$sha1", "sha256": "$sha256",
 "dap_rsa": "$(rsa "$sha1")", "dap_ec": "$(ec "$sha256")", "dap_aes": "$(cmac "$sha1")", "dap_des": "$(desmac "$sha256")",
 "token_load": "$(token 0200 "$file${domain}14${sha1}00")",
 "token_install": "$(token 0c00 "$file$module${app}010002c900")",
 "token_update": "$(token 4000 "0000${app}011000")",
 "token_delete": "$(token 0000 "4f$app")",
 "token_extradite": "$(token 1000 "${isd}00${file}0000")",
 "receipt_load": "$(cmac "020001$unique$file$domain")",
 "receipt_install": "$(cmac "020002$unique$file$app")",
 "receipt_update": "$(cmac "020003$unique$domain$app${domain}011000")",
 "receipt_delete": "$(cmac "020004$unique$app")",
 "receipt_extradite": "$(desmac "020005$unique$domain$file$isd")"
}
JSON

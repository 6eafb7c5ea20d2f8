"""Passive authentication (ICAO Doc 9303-11, 5.1) with asn1crypto and Botan:

passive.py CSCA.der CRL.der FOLDER

FOLDER holds EF.SOD as 011D and data groups as 0101 ... 0110. The judgement is
a line of JSON; the exit status is 1 where anything does not hold. Both
libraries come from Debian, and nothing of this project is behind them.
"""
import base64
import hashlib
import json
import pathlib
import sys

import botan2
from asn1crypto import algos, cms, core


class DataGroupHash(core.Sequence):
    _fields = [("number", core.Integer), ("value", core.OctetString)]


class DataGroupHashes(core.SequenceOf):
    _child_spec = DataGroupHash


class VersionInfo(core.Sequence):
    _fields = [("lds", core.PrintableString), ("unicode", core.PrintableString)]


class SecurityObject(core.Sequence):  # LDSSecurityObject, Doc 9303-10, 4.6.2.3
    _fields = [
        ("version", core.Integer),
        ("hash_algorithm", algos.DigestAlgorithm),
        ("hashes", DataGroupHashes),
        ("version_info", VersionInfo, {"optional": True}),
    ]


def require(holds, what):
    if not holds:
        print("passive authentication:", what, file=sys.stderr)
        sys.exit(1)


csca_der, crl_der = (pathlib.Path(p).read_bytes() for p in sys.argv[1:3])
folder = pathlib.Path(sys.argv[3])
ef = (folder / "011D").read_bytes()
require(ef[0] == 0x77, "EF.SOD has another tag than 77")
skip = 2 if ef[1] < 0x80 else 2 + (ef[1] & 0x7F)
content = cms.ContentInfo.load(ef[skip:], strict=True)
require(content["content_type"].native == "signed_data", "EF.SOD is not SignedData")
signed = content["content"]
require(signed["version"].native == "v3", "SignedData is not of version 3")
require(len(signed["certificates"]) == 1 and len(signed["signer_infos"]) == 1, "there is not one signer with one certificate")
encapsulated = signed["encap_content_info"]
require(encapsulated["content_type"].dotted == "2.23.136.1.1.1", "it does not hold an LDS security object")
ldsso = encapsulated["content"].contents
lds = SecurityObject.load(ldsso, strict=True)

signer = signed["signer_infos"][0]
certificate = signed["certificates"][0].chosen
require(signer["version"].native == "v1", "SignerInfo is not of version 1")
require(signer["sid"].name == "issuer_and_serial_number", "the signer is not named by issuer and serial number")
require(signer["sid"].chosen["serial_number"].native == certificate.serial_number
        and signer["sid"].chosen["issuer"] == certificate.issuer, "the signer is not the certificate's subject")
attributes = {a["type"].native: a["values"] for a in signer["signed_attrs"]}
digest = signer["digest_algorithm"]["algorithm"].native
require(attributes["content_type"][0].dotted == "2.23.136.1.1.1", "the signed content type is another")
require(attributes["message_digest"][0].native == hashlib.new(digest, ldsso).digest(), "the signed digest is another")
# What is signed is the DER of a SET OF, not the implicit tag.
to_be_signed = b"\x31" + signer["signed_attrs"].dump()[1:]

ds = botan2.X509Cert(buf=certificate.dump())
key = ds.subject_public_key()
require(signer["signature_algorithm"].signature_algo == "ecdsa", "the signature is not ECDSA")
verify = botan2.PKVerify(key, "EMSA1(%s)" % digest.upper().replace("SHA", "SHA-"), der=True)
verify.update(to_be_signed)
require(verify.check_signature(signer["signature"].native), "the signature is wrong")

# The list is not given to verify: Botan 2 wants an issuing distribution point
# in it wherever the certificate has a distribution point, which RFC 5280
# (6.3.3 b) does not ask and Doc 9303-12 (CRL profile) forbids.
csca, crl = botan2.X509Cert(buf=csca_der), botan2.X509CRL(buf=crl_der)
chain = ds.verify(trusted=[csca])
require(chain == 0, "the chain: " + str(botan2.X509Cert.validation_status(chain)))
require(not ds.is_revoked(crl), "the signer is revoked")

checked = []
for item in lds["hashes"]:
    number = item["number"].native
    file = (folder / ("%04X" % (0x0100 + number))).read_bytes()
    require(hashlib.new(lds["hash_algorithm"]["algorithm"].native, file).digest() == item["value"].native, "the hash of DG%d is another" % number)
    checked.append(number)

print(json.dumps({
    "dataGroups": checked,
    "ldsVersion": lds["version_info"]["lds"].native,
    "hash": lds["hash_algorithm"]["algorithm"].native,
    "signer": certificate.subject.human_friendly,
    "issuer": certificate.issuer.human_friendly,
    "curve": certificate.public_key["algorithm"]["parameters"].name,
    "signerKey": base64.b64encode(certificate.public_key.dump()).decode(),
}))

/* A border reader on libeac:
 * eacreader READER can|mrz|bac PASSWORD BLOCK FOLDER FILE...
 * PASSWORD is the CAN or the whole MRZ of a TD1 card. It does PACE as
 * EF.CardAccess says, or BAC with libmrtd, reads every FILE in pieces of BLOCK
 * bytes into FOLDER/FILE, tries the other ways of reading, authenticates the
 * chip with DG14 (version 1), and reads every FILE again with the keys of
 * that. Every answer's MAC is checked. */
#include "card.h"
#include "sm.h"

#include <eac/ca.h>
#include <eac/pace.h>
#include <nfc/nfc.h>
#include <mrtd/bac.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static EAC_CTX *ctx;
static long block;

static unsigned plain(const char *what, const uint8_t *raw, size_t length, struct bytes *out)
{
	(void)what;
	out->length = card_transmit(raw, length, out->data, sizeof out->data) - 2;
	return out->data[out->length] << 8 | out->data[out->length + 1];
}

/* oid is the content of an object identifier. */
static void oid(int nid, struct bytes *out)
{
	const ASN1_OBJECT *o = OBJ_nid2obj(nid);

	out->length = 0;
	if (o == NULL)
		fail("an unknown protocol");
	add(out, OBJ_get0_data(o), OBJ_length(o));
}

/* general sends GENERAL AUTHENTICATE with one data object in 7C and returns
 * the value of the object that comes back. */
static BUF_MEM *general(int last, unsigned tag, const BUF_MEM *value)
{
	static struct bytes inner, outer, raw, answer;
	const uint8_t *dynamic, *v;
	uint8_t lc;
	size_t n;
	unsigned sw;

	inner.length = outer.length = raw.length = 0;
	if (value != NULL)
		add_tlv(&inner, tag, value->data, value->length);
	add_tlv(&outer, 0x7C, inner.data, inner.length);
	lc = outer.length;
	add(&raw, last ? "\x00\x86\x00\x00" : "\x10\x86\x00\x00", 4);
	add(&raw, &lc, 1);
	add(&raw, outer.data, outer.length);
	add(&raw, "", 1);
	sw = plain("GENERAL AUTHENTICATE", raw.data, raw.length, &answer);
	if (sw != 0x9000)
		fail("PACE: GENERAL AUTHENTICATE %02X: status word %04X", value != NULL ? tag : 0, sw);
	dynamic = find(answer.data, answer.length, 0x7C, &n);
	v = dynamic != NULL ? find(dynamic, n, value != NULL ? tag + 1 : 0x80, &n) : NULL;
	if (v == NULL)
		fail("PACE: the answer to %02X lacks its data object", tag);
	return BUF_MEM_create_init(v, n);
}

static void pace(const char *kind, const char *password)
{
	static struct bytes access, data, raw, answer;
	int is_can = strcmp(kind, "can") == 0;
	uint8_t reference = is_can ? PACE_CAN : PACE_MRZ, lc;
	PACE_SEC *secret = PACE_SEC_new(password, strlen(password), is_can ? PACE_CAN : PACE_MRZ);
	BUF_MEM *nonce, *mapping, *peer, *mine, *token;
	unsigned sw;

	if (secret == NULL)
		fail("the password is malformed");
	if ((sw = plain("SELECT", (uint8_t *)"\x00\xA4\x02\x0C\x02\x01\x1C", 7, &answer)) != 0x9000)
		fail("SELECT EF.CardAccess: status word %04X", sw);
	sw = plain("READ BINARY", (uint8_t *)"\x00\xB0\x00\x00\x00", 5, &access);
	if (sw != 0x9000 && sw != 0x6282)
		fail("READ BINARY of EF.CardAccess: status word %04X", sw);
	if (!EAC_CTX_init_ef_cardaccess(access.data, access.length, ctx) || ctx->pace_ctx == NULL)
		fail("libeac finds no PACE in EF.CardAccess");
	oid(ctx->pace_ctx->protocol, &answer);
	data.length = 0;
	add_tlv(&data, 0x80, answer.data, answer.length);
	add_tlv(&data, 0x83, &reference, 1);
	if (ctx->pace_ctx->id >= 0) {
		uint8_t id = ctx->pace_ctx->id;
		add_tlv(&data, 0x84, &id, 1);
	}
	lc = data.length;
	add(&raw, "\x00\x22\xC1\xA4", 4);
	add(&raw, &lc, 1);
	add(&raw, data.data, data.length);
	if ((sw = plain("MSE:Set AT", raw.data, raw.length, &answer)) != 0x9000)
		fail("MSE:Set AT for PACE: status word %04X", sw);
	nonce = general(0, 0, NULL);
	if (!PACE_STEP2_dec_nonce(ctx, secret, nonce))
		fail("PACE: the nonce");
	if ((mapping = PACE_STEP3A_generate_mapping_data(ctx)) == NULL)
		fail("PACE: mapping data");
	peer = general(0, 0x81, mapping);
	if (!PACE_STEP3A_map_generator(ctx, peer))
		fail("PACE: the card's mapping data");
	if ((mine = PACE_STEP3B_generate_ephemeral_key(ctx)) == NULL)
		fail("PACE: ephemeral key");
	peer = general(0, 0x83, mine);
	if (!PACE_STEP3B_compute_shared_secret(ctx, peer) || !PACE_STEP3C_derive_keys(ctx))
		fail("PACE: key agreement");
	if ((token = PACE_STEP3D_compute_authentication_token(ctx, peer)) == NULL)
		fail("PACE: authentication token");
	token = general(1, 0x85, token);
	if (PACE_STEP3D_verify_authentication_token(ctx, token) != 1)
		fail("PACE: the card's authentication token is wrong");
	if (!EAC_CTX_set_encryption_ctx(ctx, EAC_ID_PACE))
		fail("PACE: session keys");
	printf("pace %s\n", OBJ_nid2sn(ctx->pace_ctx->protocol));
	PACE_SEC_clear_free(secret);
}

/* bac leaves the application selected. libmrtd makes the keys; its own secure
 * messaging does not look at MACs, so libeac's is used from here on. */
static void bac(const char *mrz)
{
	uint8_t information[24], enc[16], mac[16];
	uint64_t ssc;

	if (strlen(mrz) != 90)
		fail("the MRZ has not 90 characters");
	memcpy(information, mrz + 5, 10);
	memcpy(information + 10, mrz + 30, 7);
	memcpy(information + 17, mrz + 38, 7);
	srand(time(NULL));
	mrtd_bac_randomize_rndifd_kifd();
	if (mrtd_bac_keyhandshake((nfc_device *)"PC/SC", information, enc, mac, &ssc) != 0)
		fail("BAC failed");
	use_bac_keys(ctx, enc, mac, ssc);
	printf("bac\n");
}

static unsigned secure(const char *header, const void *data, size_t length, long le, struct bytes *out)
{
	/* 223 bytes are what a short answer carries behind secure messaging with AES. */
	struct command c = { .data = data, .length = length, .le = le, .extended = le > 223 };

	memcpy(c.header, header, 4);
	return sm_exchange(ctx, &c, out);
}

static void read_file(const char *name, struct bytes *file)
{
	static struct bytes piece;
	unsigned long fid = strtoul(name, NULL, 16);
	uint8_t id[2] = { fid >> 8, fid };
	size_t size = 4;
	unsigned sw;

	if ((sw = secure("\x00\xA4\x02\x0C", id, 2, -1, &piece)) != 0x9000)
		fail("SELECT %s: status word %04X", name, sw);
	file->length = 0;
	while (file->length < size) {
		uint8_t header[4] = { 0x00, 0xB0, file->length >> 8, file->length };
		size_t n = size - file->length;

		if (n > (size_t)block)
			n = block;
		sw = secure((char *)header, NULL, 0, n, &piece);
		if (sw != 0x9000 || piece.length != n)
			fail("READ BINARY of %s at %zu: status word %04X and %zu bytes", name, file->length, sw, piece.length);
		add(file, piece.data, piece.length);
		if (size == 4) {
			size_t at = 2;
			const uint8_t *d = file->data;

			size = d[1];
			if (d[1] == 0x81)
				size = d[2], at = 3;
			else if (d[1] == 0x82)
				size = d[2] << 8 | d[3], at = 4;
			else if (d[1] > 0x7F)
				fail("%s: a length that this reader does not read", name);
			size += at;
		}
	}
}

/* read_otherwise reads the beginning of a file by its short identifier, and a
 * part of it with the odd instruction, and compares. */
static void read_otherwise(const char *name, const struct bytes *file)
{
	static struct bytes piece;
	unsigned long fid = strtoul(name, NULL, 16);
	uint8_t header[4] = { 0x00, 0xB0, 0x80 | (fid & 0x1F), 3 };
	const uint8_t *value;
	size_t n;
	unsigned sw;

	sw = secure((char *)header, NULL, 0, 16, &piece);
	if (sw != 0x9000 || piece.length != 16 || memcmp(piece.data, file->data + 3, 16) != 0)
		fail("READ BINARY of %s by short identifier: status word %04X and %zu bytes", name, sw, piece.length);
	sw = secure("\x00\xB1\x00\x00", "\x54\x02\x00\x05", 4, 18, &piece);
	value = find(piece.data, piece.length, 0x53, &n);
	if (sw != 0x9000 || value == NULL || n != 16 || memcmp(value, file->data + 5, 16) != 0)
		fail("READ BINARY of %s with the odd instruction: status word %04X and %zu bytes", name, sw, piece.length);
}

/* chip_authentication is version 1: no nonce, no token, the proof is that the
 * new keys work. libeac has version 2; its key agreement and derivation serve. */
static void chip_authentication(const struct bytes *dg14)
{
	static struct bytes data, inner, answer;
	EAC_CTX *ca = EAC_CTX_new();
	BUF_MEM *chip, *mine;
	const uint8_t *infos;
	size_t n;
	unsigned sw;

	infos = find(dg14->data, dg14->length, 0x6E, &n);
	if (ca == NULL || infos == NULL || !EAC_CTX_init_ef_cardaccess(infos, n, ca) || ca->ca_ctx == NULL || ca->ca_ctx->protocol == 0)
		fail("libeac finds no chip authentication in DG14");
	/* The key that was parsed is the chip's; the terminal's takes its place on the same curve. */
	if ((chip = CA_STEP2_get_eph_pubkey(ca)) == NULL)
		fail("chip authentication: the public key in DG14");
	if ((mine = KA_CTX_generate_key(ca->ca_ctx->ka_ctx, ca->bn_ctx)) == NULL)
		fail("chip authentication: ephemeral key");
	if (!CA_STEP4_compute_shared_secret(ca, chip) || !KA_CTX_derive_keys(ca->ca_ctx->ka_ctx, NULL, ca->md_ctx))
		fail("chip authentication: key agreement");
	data.length = inner.length = 0;
	if (EVP_CIPHER_get_block_size(ca->ca_ctx->ka_ctx->cipher) == 8) {
		add_tlv(&data, 0x91, mine->data, mine->length);
		if (ca->ca_ctx->id >= 0) {
			uint8_t id = ca->ca_ctx->id;
			add_tlv(&data, 0x84, &id, 1);
		}
		if ((sw = secure("\x00\x22\x41\xA6", data.data, data.length, -1, &answer)) != 0x9000)
			fail("chip authentication: MSE:Set KAT: status word %04X", sw);
	} else {
		oid(ca->ca_ctx->protocol, &inner);
		add_tlv(&data, 0x80, inner.data, inner.length);
		if (ca->ca_ctx->id >= 0) {
			uint8_t id = ca->ca_ctx->id;
			add_tlv(&data, 0x84, &id, 1);
		}
		if ((sw = secure("\x00\x22\x41\xA4", data.data, data.length, -1, &answer)) != 0x9000)
			fail("chip authentication: MSE:Set AT: status word %04X", sw);
		data.length = inner.length = 0;
		add_tlv(&inner, 0x80, mine->data, mine->length);
		add_tlv(&data, 0x7C, inner.data, inner.length);
		if ((sw = secure("\x00\x86\x00\x00", data.data, data.length, 256, &answer)) != 0x9000)
			fail("chip authentication: GENERAL AUTHENTICATE: status word %04X", sw);
		if (find(answer.data, answer.length, 0x7C, &n) == NULL)
			fail("chip authentication: GENERAL AUTHENTICATE has no answer 7C");
	}
	if (!EAC_CTX_set_encryption_ctx(ca, EAC_ID_CA))
		fail("chip authentication: session keys");
	printf("ca %s\n", OBJ_nid2sn(ca->ca_ctx->protocol));
	ctx = ca;
}

int main(int argc, char **argv)
{
	static struct bytes file, dg14, answer;
	static struct bytes before[16];
	int i;
	unsigned sw;

	if (argc < 7 || argc - 6 > 16)
		fail("usage: %s READER can|mrz|bac PASSWORD BLOCK FOLDER FILE...", argv[0]);
	block = strtol(argv[4], NULL, 10);
	EAC_init();
	ctx = EAC_CTX_new();
	card_open(argv[1]);
	if (strcmp(argv[2], "bac") == 0)
		bac(argv[3]);
	else
		pace(argv[2], argv[3]);
	if ((sw = secure("\x00\xA4\x04\x0C", "\xA0\x00\x00\x02\x47\x10\x01", 7, -1, &answer)) != 0x9000)
		fail("SELECT of the application: status word %04X", sw);
	for (i = 6; i < argc; i++) {
		char path[1024];
		FILE *out;

		read_file(argv[i], &before[i - 6]);
		read_otherwise(argv[i], &before[i - 6]);
		snprintf(path, sizeof path, "%s/%s", argv[5], argv[i]);
		out = fopen(path, "wb");
		if (out == NULL || fwrite(before[i - 6].data, 1, before[i - 6].length, out) != before[i - 6].length || fclose(out) != 0)
			fail("%s cannot be written", path);
	}
	read_file("010E", &dg14);
	chip_authentication(&dg14);
	for (i = 6; i < argc; i++) {
		read_file(argv[i], &file);
		if (file.length != before[i - 6].length || memcmp(file.data, before[i - 6].data, file.length) != 0)
			fail("file %s is another after chip authentication", argv[i]);
	}
	printf("files %d\n", argc - 6);
	card_close();
	return 0;
}

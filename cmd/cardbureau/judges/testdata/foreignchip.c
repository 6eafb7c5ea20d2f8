/* A travel document's chip whose cryptography is libeac (PACE, chip
 * authentication, secure messaging) and libmrtd (BAC):
 * foreignchip FOLDER MRZ CAN
 * Command APDUs come as lines of hexadecimal digits, "reset" is one; each is
 * answered with a line. FOLDER holds files by their identifiers, 011C is
 * EF.CardAccess, and chip.der, the private key to DG14. */
#include "card.h"
#include "sm.h"

#include <eac/ca.h>
#include <eac/pace.h>
#include <mrtd/bachelper.h>
#include <mrtd/crypto.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

static const char *folder, *mrz, *can;

static EAC_CTX *pace, *ca, *session; /* session is one of the other two while secure messaging is on */
static PACE_SEC *secret;
static BUF_MEM *terminal_key;
static struct bytes file;
static int selected, in_application, step;
static uint8_t challenge[8];
static int challenged;

static int load(unsigned fid, struct bytes *out)
{
	char path[1024];
	FILE *in;

	snprintf(path, sizeof path, "%s/%04X", folder, fid);
	out->length = 0;
	if ((in = fopen(path, "rb")) == NULL)
		return 0;
	out->length = fread(out->data, 1, sizeof out->data, in);
	fclose(in);
	return 1;
}

static void reset(void)
{
	if (pace != NULL)
		EAC_CTX_clear_free(pace);
	if (ca != NULL)
		EAC_CTX_clear_free(ca);
	if (secret != NULL)
		PACE_SEC_clear_free(secret);
	pace = EAC_CTX_new();
	ca = session = NULL;
	secret = NULL;
	selected = in_application = step = challenged = 0;
}

static unsigned select_file(const struct command *c)
{
	if (c->header[2] == 0x04) {
		if (c->length != 7 || memcmp(c->data, "\xA0\x00\x00\x02\x47\x10\x01", 7) != 0)
			return 0x6A82;
		in_application = 1;
		selected = 0;
		return 0x9000;
	}
	if (c->header[2] == 0x00) {
		in_application = selected = 0;
		return 0x9000;
	}
	if (c->header[2] != 0x02 || c->length != 2)
		return 0x6A86;
	selected = c->data[0] << 8 | c->data[1];
	if ((selected == 0x011C) == in_application || !load(selected, &file)) {
		selected = 0;
		return 0x6A82;
	}
	if (selected != 0x011C && session == NULL) {
		selected = 0;
		return 0x6982;
	}
	return 0x9000;
}

static unsigned read_binary(const struct command *c, struct bytes *out)
{
	size_t at = c->header[2] << 8 | c->header[3], n = c->le;

	if (c->header[2] & 0x80)
		return 0x6A86;
	if (!selected)
		return 0x6986;
	if (at > file.length)
		return 0x6B00;
	if (c->le < 0)
		return 0x6700;
	if (n > file.length - at) {
		add(out, file.data + at, file.length - at);
		return n == 256 || n == 65536 ? 0x9000 : 0x6282;
	}
	add(out, file.data + at, n);
	return 0x9000;
}

/* set_at chooses PACE by protocol and password. */
static unsigned set_pace(const struct command *c)
{
	static struct bytes access;
	const uint8_t *oid, *reference;
	const ASN1_OBJECT *offered;
	size_t n, r;

	oid = find(c->data, c->length, 0x80, &n);
	reference = find(c->data, c->length, 0x83, &r);
	if (oid == NULL || reference == NULL || r != 1)
		return 0x6A80;
	if (!load(0x011C, &access) || !EAC_CTX_init_ef_cardaccess(access.data, access.length, pace) || pace->pace_ctx == NULL)
		fail("libeac does not take EF.CardAccess");
	offered = OBJ_nid2obj(pace->pace_ctx->protocol);
	if (n != OBJ_length(offered) || memcmp(oid, OBJ_get0_data(offered), n) != 0)
		return 0x6A80;
	if (reference[0] == PACE_MRZ)
		secret = PACE_SEC_new(mrz, strlen(mrz), PACE_MRZ);
	else if (reference[0] == PACE_CAN)
		secret = PACE_SEC_new(can, strlen(can), PACE_CAN);
	else
		return 0x6A88;
	step = 1;
	return 0x9000;
}

static unsigned pace_step(const struct command *c, struct bytes *out)
{
	static const unsigned tags[5][2] = { { 0 }, { 0, 0x80 }, { 0x81, 0x82 }, { 0x83, 0x84 }, { 0x85, 0x86 } };
	static struct bytes inner;
	const uint8_t *dynamic, *value = NULL;
	BUF_MEM *in = NULL, *answer = NULL;
	size_t n;
	int now = step, last = now == 4;

	step = 0;
	if (now < 1 || (c->header[0] & 0x10) == (last ? 0x10 : 0))
		return 0x6985;
	if ((dynamic = find(c->data, c->length, 0x7C, &n)) == NULL)
		return 0x6A80;
	if (tags[now][0] != 0) {
		if ((value = find(dynamic, n, tags[now][0], &n)) == NULL)
			return 0x6A80;
		in = BUF_MEM_create_init(value, n);
	}
	switch (now) {
	case 1:
		answer = PACE_STEP1_enc_nonce(pace, secret);
		break;
	case 2:
		answer = PACE_STEP3A_generate_mapping_data(pace);
		if (answer == NULL || !PACE_STEP3A_map_generator(pace, in))
			return 0x6A80;
		break;
	case 3:
		answer = PACE_STEP3B_generate_ephemeral_key(pace);
		if (answer == NULL || !PACE_STEP3B_compute_shared_secret(pace, in) || !PACE_STEP3C_derive_keys(pace))
			return 0x6A80;
		terminal_key = in;
		break;
	case 4:
		answer = PACE_STEP3D_compute_authentication_token(pace, terminal_key);
		if (PACE_STEP3D_verify_authentication_token(pace, in) != 1)
			return 0x6300;
		if (!EAC_CTX_set_encryption_ctx(pace, EAC_ID_PACE))
			fail("PACE: session keys");
		session = pace;
		break;
	}
	if (answer == NULL)
		fail("PACE step %d", now);
	inner.length = 0;
	add_tlv(&inner, tags[now][1], answer->data, answer->length);
	add_tlv(out, 0x7C, inner.data, inner.length);
	if (!last)
		step = now + 1;
	return 0x9000;
}

/* prepare_ca reads DG14 and the private key to it. */
static void prepare_ca(void)
{
	static struct bytes dg14, key;
	const uint8_t *infos;
	char path[1024];
	size_t n;
	FILE *in;

	if (ca != NULL)
		return;
	ca = EAC_CTX_new();
	if (!load(0x010E, &dg14) || (infos = find(dg14.data, dg14.length, 0x6E, &n)) == NULL
	    || !EAC_CTX_init_ef_cardaccess(infos, n, ca) || ca->ca_ctx == NULL)
		fail("libeac does not take DG14");
	snprintf(path, sizeof path, "%s/chip.der", folder);
	if ((in = fopen(path, "rb")) == NULL)
		fail("%s cannot be read", path);
	key.length = fread(key.data, 1, sizeof key.data, in);
	fclose(in);
	if (!CA_set_key(ca, key.data, key.length, NULL, 0))
		fail("libeac does not take the chip's key");
}

static unsigned agree(const uint8_t *public, size_t length)
{
	BUF_MEM *peer = BUF_MEM_create_init(public, length);

	if (!CA_STEP4_compute_shared_secret(ca, peer) || !KA_CTX_derive_keys(ca->ca_ctx->ka_ctx, NULL, ca->md_ctx))
		return 0x6A80;
	return 0x9000;
}

/* process carries out a command. next is set to the session that begins with
 * the next command. */
static unsigned process(const struct command *c, struct bytes *out, EAC_CTX **next)
{
	const uint8_t *value;
	size_t n;

	switch (c->header[1]) {
	case 0xA4:
		return select_file(c);
	case 0xB0:
		return read_binary(c, out);
	case 0x22:
		if (c->header[2] == 0xC1 && c->header[3] == 0xA4 && session == NULL)
			return set_pace(c);
		if (c->header[2] != 0x41 || session == NULL)
			return 0x6A86;
		prepare_ca();
		if (c->header[3] == 0xA4) {
			const ASN1_OBJECT *o = OBJ_nid2obj(ca->ca_ctx->protocol);

			value = find(c->data, c->length, 0x80, &n);
			if (value == NULL || n != OBJ_length(o) || memcmp(value, OBJ_get0_data(o), n) != 0)
				return 0x6A80;
			return 0x9000;
		}
		if (c->header[3] != 0xA6 || (value = find(c->data, c->length, 0x91, &n)) == NULL)
			return 0x6A80;
		*next = ca;
		return agree(value, n);
	case 0x86:
		if (session == NULL)
			return pace_step(c, out);
		if (ca == NULL || (value = find(c->data, c->length, 0x7C, &n)) == NULL || (value = find(value, n, 0x80, &n)) == NULL)
			return 0x6A80;
		*next = ca;
		add_tlv(out, 0x7C, NULL, 0);
		return agree(value, n);
	case 0x84:
		if (c->le != 8 || !in_application)
			return 0x6700;
		RAND_bytes(challenge, 8);
		challenged = 1;
		add(out, challenge, 8);
		return 0x9000;
	}
	return 0x6D00;
}

/* external_authenticate is BAC. */
static unsigned external_authenticate(const struct command *c, struct bytes *out)
{
	uint8_t information[24], enc[16], mac[16], check[8], s[32], seed[16], kicc[16], answer[40];
	int i;

	if (!challenged || c->length != 40)
		return 0x6985;
	challenged = 0;
	memcpy(information, mrz + 5, 10);
	memcpy(information + 10, mrz + 30, 7);
	memcpy(information + 17, mrz + 38, 7);
	mrtd_bac_kmrz_to_kenc_kmac(information, enc, mac);
	mrtd_crypto_mac_padding(c->data, check, 32, mac);
	mrtd_crypto_decrypt_3des(c->data, s, 32, enc);
	if (memcmp(check, c->data + 32, 8) != 0 || memcmp(s + 8, challenge, 8) != 0)
		return 0x6300;
	RAND_bytes(kicc, 16);
	for (i = 0; i < 16; i++)
		seed[i] = s[16 + i] ^ kicc[i];
	/* RND.IC || RND.IFD || K.IC: the order that mrtd_bac_cmd_data writes for its arguments. */
	mrtd_bac_cmd_data(challenge, kicc, s, enc, mac, answer);
	add(out, answer, 40);
	mrtd_bac_kenc_kmac(seed, enc, mac);
	use_bac_keys(pace, enc, mac, mrtd_bac_get_ssc(challenge, s));
	session = pace;
	return 0x9000;
}

static void answer(const uint8_t *raw, size_t length, struct bytes *out)
{
	static struct bytes plain, data;
	uint8_t status[2];
	struct command c;
	EAC_CTX *next = NULL;
	unsigned sw = 0x6700;

	out->length = plain.length = 0;
	if (!parse_command(&c, raw, length)) {
		add(out, "\x67\x00", 2);
		return;
	}
	if ((c.header[0] & 0x0C) == 0x0C) {
		if (session == NULL || !sm_open(session, &c, &data)) {
			session = NULL;
			add(out, "\x69\x88", 2);
			return;
		}
		sw = process(&c, &plain, &next);
		sm_close(session, plain.data, plain.length, sw, out);
		if (next != NULL && sw == 0x9000) {
			if (!EAC_CTX_set_encryption_ctx(ca, EAC_ID_CA))
				fail("chip authentication: session keys");
			session = ca;
		}
		return;
	}
	if (session != NULL) {
		reset(); /* a plain command ends the session */
		add(out, "\x69\x82", 2);
		return;
	}
	sw = c.header[1] == 0x82 ? external_authenticate(&c, &plain) : process(&c, &plain, &next);
	status[0] = sw >> 8;
	status[1] = sw;
	add(out, plain.data, plain.length);
	add(out, status, 2);
}

int main(int argc, char **argv)
{
	static char line[1 << 18];
	static struct bytes raw, out;
	size_t i;

	if (argc != 4 || strlen(argv[2]) != 90)
		fail("usage: %s FOLDER MRZ CAN", argv[0]);
	folder = argv[1], mrz = argv[2], can = argv[3];
	EAC_init();
	reset();
	while (fgets(line, sizeof line, stdin) != NULL) {
		unsigned byte;

		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "reset") == 0) {
			reset();
			puts("ok");
			fflush(stdout);
			continue;
		}
		raw.length = 0;
		for (i = 0; line[i] != 0 && sscanf(line + i, "%2x", &byte) == 1; i += 2)
			raw.data[raw.length++] = byte;
		answer(raw.data, raw.length, &out);
		for (i = 0; i < out.length; i++)
			printf("%02X", out.data[i]);
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}

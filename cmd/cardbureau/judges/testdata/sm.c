#include "sm.h"
#include "card.h"

#include <openssl/objects.h>
#include <string.h>

void use_bac_keys(EAC_CTX *ctx, const uint8_t enc[16], const uint8_t mac[16], uint64_t ssc)
{
	KA_CTX *keys = KA_CTX_new();

	if (keys == NULL || !KA_CTX_set_protocol(keys, OBJ_txt2nid("id-PACE-ECDH-GM-3DES-CBC-CBC")))
		fail("no 3DES in libeac");
	keys->k_enc = BUF_MEM_create_init(enc, 16);
	keys->k_mac = BUF_MEM_create_init(mac, 16);
	ctx->key_ctx = keys;
	EAC_set_ssc(ctx, ssc);
}

void add(struct bytes *b, const void *data, size_t length)
{
	if (length > sizeof b->data - b->length)
		fail("too long");
	if (length > 0)
		memcpy(b->data + b->length, data, length);
	b->length += length;
}

void add_tlv(struct bytes *b, unsigned tag, const void *value, size_t length)
{
	uint8_t header[5] = { tag };
	size_t n = 1;

	if (length > 0xFFFF)
		fail("too long");
	if (length > 0xFF)
		header[n++] = 0x82, header[n++] = length >> 8;
	else if (length > 0x7F)
		header[n++] = 0x81;
	header[n++] = length;
	add(b, header, n);
	add(b, value, length);
}

const uint8_t *find(const uint8_t *in, size_t length, unsigned tag, size_t *n)
{
	size_t i = 0, more, value;

	while (i + 2 <= length) {
		unsigned t = in[i++];
		value = in[i++];
		if (value > 0x80) {
			more = value & 0x7F;
			for (value = 0; more > 0 && i < length; more--)
				value = value << 8 | in[i++];
		}
		if (value > length - i)
			return NULL;
		if (t == tag) {
			*n = value;
			return in + i;
		}
		i += value;
	}
	return NULL;
}

int parse_command(struct command *c, const uint8_t *raw, size_t length)
{
	size_t at = 5, lc;

	memset(c, 0, sizeof *c);
	c->le = -1;
	if (length < 4)
		return 0;
	memcpy(c->header, raw, 4);
	if (length == 4)
		return 1;
	if (length == 5) {
		c->le = raw[4] ? raw[4] : 256;
		return 1;
	}
	lc = raw[4];
	if (lc == 0 && length >= 7) {
		c->extended = 1;
		lc = raw[5] << 8 | raw[6];
		at = 7;
		if (length == 7) {
			c->le = lc ? (long)lc : 65536;
			return 1;
		}
	}
	if (lc == 0 || at + lc > length)
		return 0;
	c->data = raw + at;
	c->length = lc;
	at += lc;
	if (at == length)
		return 1;
	if (!c->extended && at + 1 == length) {
		c->le = raw[at] ? raw[at] : 256;
		return 1;
	}
	if (c->extended && at + 2 == length) {
		c->le = raw[at] << 8 | raw[at + 1];
		if (c->le == 0)
			c->le = 65536;
		return 1;
	}
	return 0;
}

/* pad is the ISO padding to the block of the session's cipher. */
static BUF_MEM *pad(EAC_CTX *ctx, const uint8_t *data, size_t length)
{
	BUF_MEM *plain = BUF_MEM_create_init(data, length), *padded = EAC_add_iso_pad(ctx, plain);

	if (padded == NULL)
		fail("EAC_add_iso_pad");
	BUF_MEM_free(plain);
	return padded;
}

/* authenticated is what the MAC covers: the padded header of a command, if
 * any, and the padded data objects, if any. */
static BUF_MEM *authenticated(EAC_CTX *ctx, const uint8_t *header, const uint8_t *objects, size_t length)
{
	static struct bytes all;
	BUF_MEM *part;

	all.length = 0;
	if (header != NULL) {
		part = pad(ctx, header, 4);
		add(&all, part->data, part->length);
		BUF_MEM_free(part);
	}
	if (length > 0) {
		part = pad(ctx, objects, length);
		add(&all, part->data, part->length);
		BUF_MEM_free(part);
	}
	return BUF_MEM_create_init(all.data, all.length);
}

static void add_cryptogram(EAC_CTX *ctx, struct bytes *out, unsigned tag, const uint8_t *data, size_t length)
{
	static struct bytes value;
	BUF_MEM *plain = pad(ctx, data, length), *secret = EAC_encrypt(ctx, plain);

	if (secret == NULL)
		fail("EAC_encrypt");
	value.length = 0;
	if (tag == 0x87)
		add(&value, "\x01", 1);
	add(&value, secret->data, secret->length);
	add_tlv(out, tag, value.data, value.length);
	BUF_MEM_free(plain);
	BUF_MEM_free(secret);
}

static void open_cryptogram(EAC_CTX *ctx, unsigned tag, const uint8_t *value, size_t n, struct bytes *out)
{
	BUF_MEM *secret, *padded, *plain;

	if (tag == 0x87) {
		if (n < 1 || value[0] != 0x01)
			fail("the padding indicator of DO87 is not 01");
		value++, n--;
	}
	secret = BUF_MEM_create_init(value, n);
	padded = EAC_decrypt(ctx, secret);
	plain = padded != NULL ? EAC_remove_iso_pad(padded) : NULL;
	if (plain == NULL)
		fail("a cryptogram cannot be opened");
	add(out, plain->data, plain->length);
	BUF_MEM_free(secret);
	BUF_MEM_free(padded);
	BUF_MEM_free(plain);
}

static void add_mac(EAC_CTX *ctx, struct bytes *objects, const uint8_t *header)
{
	BUF_MEM *m = authenticated(ctx, header, objects->data, objects->length), *mac = EAC_authenticate(ctx, m);

	if (mac == NULL)
		fail("EAC_authenticate");
	add_tlv(objects, 0x8E, mac->data, mac->length);
	BUF_MEM_free(m);
	BUF_MEM_free(mac);
}

/* mac_holds checks DO8E, which is the last of the objects. */
static int mac_holds(EAC_CTX *ctx, const uint8_t *header, const uint8_t *objects, size_t length)
{
	size_t n;
	const uint8_t *mac = find(objects, length, 0x8E, &n);
	BUF_MEM *m, *given;
	int ok;

	if (mac == NULL || n != 8 || mac + n != objects + length)
		return 0;
	m = authenticated(ctx, header, objects, mac - 2 - objects);
	given = BUF_MEM_create_init(mac, n);
	ok = EAC_verify_authentication(ctx, m, given) == 1;
	BUF_MEM_free(m);
	BUF_MEM_free(given);
	return ok;
}

unsigned sm_exchange(EAC_CTX *ctx, const struct command *c, struct bytes *out)
{
	static struct bytes objects, raw, response;
	uint8_t header[4] = { c->header[0] | 0x0C, c->header[1], c->header[2], c->header[3] };
	uint8_t le[2] = { c->le >> 8, c->le };
	const uint8_t *value;
	size_t n;
	unsigned sw;

	EAC_increment_ssc(ctx);
	objects.length = 0;
	if (c->length > 0)
		add_cryptogram(ctx, &objects, c->header[1] & 1 ? 0x85 : 0x87, c->data, c->length);
	if (c->le >= 0)
		add_tlv(&objects, 0x97, c->le > 256 ? le : le + 1, c->le > 256 ? 2 : 1);
	add_mac(ctx, &objects, header);
	raw.length = 0;
	add(&raw, header, 4);
	if (c->extended) {
		uint8_t lc[3] = { 0, objects.length >> 8, objects.length };
		add(&raw, lc, 3);
		add(&raw, objects.data, objects.length);
		add(&raw, "\0", 2);
	} else {
		uint8_t lc = objects.length;
		if (objects.length > 255)
			fail("the command is too long");
		add(&raw, &lc, 1);
		add(&raw, objects.data, objects.length);
		add(&raw, "", 1);
	}
	response.length = card_transmit(raw.data, raw.length, response.data, sizeof response.data) - 2;
	sw = response.data[response.length] << 8 | response.data[response.length + 1];
	EAC_increment_ssc(ctx);
	if (response.length == 0)
		fail("%02X: an answer without secure messaging, status word %04X", c->header[1], sw);
	if (!mac_holds(ctx, NULL, response.data, response.length))
		fail("%02X: the answer's MAC is wrong", c->header[1]);
	value = find(response.data, response.length, 0x99, &n);
	if (value == NULL || n != 2 || (unsigned)(value[0] << 8 | value[1]) != sw)
		fail("%02X: DO99 is missing or is not the status word", c->header[1]);
	out->length = 0;
	if ((value = find(response.data, response.length, 0x87, &n)) != NULL)
		open_cryptogram(ctx, 0x87, value, n, out);
	else if ((value = find(response.data, response.length, 0x85, &n)) != NULL)
		open_cryptogram(ctx, 0x85, value, n, out);
	return sw;
}

int sm_open(EAC_CTX *ctx, struct command *c, struct bytes *data)
{
	const uint8_t *objects = c->data, *value;
	size_t length = c->length, n;

	EAC_increment_ssc(ctx);
	if (!mac_holds(ctx, c->header, objects, length))
		return 0;
	data->length = 0;
	if ((value = find(objects, length, 0x87, &n)) != NULL)
		open_cryptogram(ctx, 0x87, value, n, data);
	else if ((value = find(objects, length, 0x85, &n)) != NULL)
		open_cryptogram(ctx, 0x85, value, n, data);
	c->le = -1;
	if ((value = find(objects, length, 0x97, &n)) != NULL) {
		if (n == 1)
			c->le = value[0] ? value[0] : 256;
		else if (n == 2 && (value[0] | value[1]) == 0)
			c->le = 65536;
		else if (n == 2)
			c->le = value[0] << 8 | value[1];
		else
			return 0;
	}
	c->header[0] &= ~0x0C;
	c->data = data->data;
	c->length = data->length;
	return 1;
}

void sm_close(EAC_CTX *ctx, const uint8_t *data, size_t length, unsigned sw, struct bytes *out)
{
	uint8_t status[2] = { sw >> 8, sw };

	EAC_increment_ssc(ctx);
	out->length = 0;
	if (length > 0)
		add_cryptogram(ctx, out, 0x87, data, length);
	add_tlv(out, 0x99, status, 2);
	add_mac(ctx, out, NULL);
	add(out, status, 2);
}

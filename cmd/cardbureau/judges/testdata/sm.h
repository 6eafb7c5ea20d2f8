/* Secure messaging (ICAO Doc 9303-11, 9.8) with the ciphers of libeac, both
 * ends, and the little of BER-TLV that it needs. */
#ifndef SM_H
#define SM_H

#include <eac/eac.h>
#include <stddef.h>
#include <stdint.h>

/* libeac exports these and leaves them out of its headers. */
BUF_MEM *BUF_MEM_create_init(const void *data, size_t length);
KA_CTX *KA_CTX_new(void);
int KA_CTX_set_protocol(KA_CTX *ctx, int protocol);
BUF_MEM *KA_CTX_generate_key(const KA_CTX *ctx, BN_CTX *bn_ctx);
int KA_CTX_compute_key(KA_CTX *ctx, const BUF_MEM *in, BN_CTX *bn_ctx);
int KA_CTX_derive_keys(KA_CTX *ctx, const BUF_MEM *nonce, EVP_MD_CTX *md_ctx);

/* A byte string that grows. */
struct bytes {
	size_t length;
	uint8_t data[1 << 17];
};
void add(struct bytes *b, const void *data, size_t length);
void add_tlv(struct bytes *b, unsigned tag, const void *value, size_t length);

/* Finds a data object in a sequence of them. Returns its value, or NULL. Tags
 * have one byte. */
const uint8_t *find(const uint8_t *in, size_t length, unsigned tag, size_t *n);

/* A command APDU taken apart. le is -1 when there is none. */
struct command {
	uint8_t header[4];
	const uint8_t *data;
	size_t length;
	long le;
	int extended;
};
int parse_command(struct command *c, const uint8_t *raw, size_t length);

/* Secure messaging with keys and counter of BAC, in place of any other. */
void use_bac_keys(EAC_CTX *ctx, const uint8_t enc[16], const uint8_t mac[16], uint64_t ssc);

/* Terminal: protects a command, sends it, opens the response. Returns the
 * status word; the plain response is in out. On wrong protection the program
 * ends. */
unsigned sm_exchange(EAC_CTX *ctx, const struct command *c, struct bytes *out);

/* Card: opens a protected command. The plain data is in data. Returns 0 when
 * the protection is wrong. */
int sm_open(EAC_CTX *ctx, struct command *c, struct bytes *data);

/* Card: protects a response. */
void sm_close(EAC_CTX *ctx, const uint8_t *data, size_t length, unsigned sw, struct bytes *out);

#endif

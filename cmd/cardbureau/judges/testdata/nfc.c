/* The part of libnfc that mrtdreader and libmrtd use, over a PC/SC reader: the
 * target is the card in the reader that NFC_PCSC_READER names. Preloaded or
 * linked, it stands before libnfc itself, which knows no such reader. */
#include "card.h"

#include <nfc/nfc.h>
#include <stdlib.h>
#include <string.h>

void nfc_init(nfc_context **c)
{
	*c = (nfc_context *)"PC/SC";
}

void nfc_exit(nfc_context *c)
{
	(void)c;
}

size_t nfc_list_devices(nfc_context *c, nfc_connstring names[], size_t capacity)
{
	const char *reader = getenv("NFC_PCSC_READER");

	(void)c;
	if (reader == NULL || capacity == 0)
		return 0;
	strncpy(names[0], reader, sizeof(nfc_connstring) - 1);
	names[0][sizeof(nfc_connstring) - 1] = 0;
	return 1;
}

nfc_device *nfc_open(nfc_context *c, const nfc_connstring name)
{
	(void)c;
	card_open(name);
	return (nfc_device *)"PC/SC";
}

void nfc_close(nfc_device *d)
{
	(void)d;
	card_close();
}

int nfc_initiator_init(nfc_device *d)
{
	(void)d;
	return 0;
}

const char *nfc_device_get_name(nfc_device *d)
{
	return (const char *)d;
}

int nfc_device_set_property_bool(nfc_device *d, const nfc_property p, const bool on)
{
	(void)d, (void)p, (void)on;
	return 0;
}

int nfc_initiator_select_passive_target(nfc_device *d, const nfc_modulation m, const uint8_t *init, const size_t n, nfc_target *t)
{
	(void)d, (void)init, (void)n;
	memset(t, 0, sizeof *t);
	t->nm = m;
	return 1;
}

int nfc_initiator_transceive_bytes(nfc_device *d, const uint8_t *tx, const size_t txlen, uint8_t *rx, const size_t rxlen, int timeout)
{
	(void)d, (void)timeout;
	return card_transmit(tx, txlen, rx, rxlen);
}

void nfc_perror(const nfc_device *d, const char *what)
{
	(void)d;
	fail("%s", what);
}

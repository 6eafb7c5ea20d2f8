#include "card.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winscard.h>

static SCARDCONTEXT context;
static SCARDHANDLE handle;
static DWORD protocol;
static int opened;

void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void check(LONG rv, const char *what)
{
	if (rv != SCARD_S_SUCCESS)
		fail("%s: %s", what, pcsc_stringify_error(rv));
}

void card_open(const char *reader)
{
	SCARD_READERSTATE state = { .szReader = reader };

	check(SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context), "SCardEstablishContext");
	do {
		check(SCardGetStatusChange(context, 10000, &state, 1), "SCardGetStatusChange");
		state.dwCurrentState = state.dwEventState;
	} while (!(state.dwEventState & SCARD_STATE_PRESENT) || (state.dwEventState & SCARD_STATE_MUTE));
	check(SCardConnect(context, reader, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &handle, &protocol), "SCardConnect");
	opened = 1;
	/* Also when the program fails: otherwise the service finds out later that nobody
	 * holds the card any more, and whoever comes next is refused. */
	atexit(card_close);
	check(SCardReconnect(handle, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, SCARD_UNPOWER_CARD, &protocol), "SCardReconnect");
}

size_t card_transmit(const uint8_t *command, size_t length, uint8_t *response, size_t capacity)
{
	DWORD n = capacity;

	check(SCardTransmit(handle, protocol == SCARD_PROTOCOL_T1 ? SCARD_PCI_T1 : SCARD_PCI_T0, command, length, NULL, response, &n), "SCardTransmit");
	if (n < 2)
		fail("the card answered %lu bytes", (unsigned long)n);
	return n;
}

void card_close(void)
{
	if (!opened)
		return;
	opened = 0;
	SCardDisconnect(handle, SCARD_RESET_CARD);
	SCardReleaseContext(context);
}

/* A card in a PC/SC reader, for the judges in C. */
#ifndef CARD_H
#define CARD_H

#include <stddef.h>
#include <stdint.h>

/* Waits for the card in the named reader and powers it afresh. On failure the
 * program ends and says why. */
void card_open(const char *reader);

/* Sends a command APDU. Returns the length of the response, status word
 * included. On failure the program ends and says why. */
size_t card_transmit(const uint8_t *command, size_t length, uint8_t *response, size_t capacity);

void card_close(void);

/* Ends the program. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif

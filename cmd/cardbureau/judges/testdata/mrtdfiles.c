/* Reads elementary files with libmrtd, which does BAC and secure messaging:
 * mrtdfiles MRZ-INFORMATION FOLDER FILE...
 * FILE is a file identifier of four hexadecimal digits; it becomes FOLDER/FILE. */
#include "card.h"

#include <nfc/nfc.h>
#include <mrtd/bac.h>
#include <mrtd/fileread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
	static uint8_t content[1 << 17];
	nfc_context *context;
	nfc_connstring name;
	nfc_device *device;
	uint8_t enc[16], mac[16];
	uint64_t ssc;
	int i;

	if (argc < 4 || strlen(argv[1]) != 24)
		fail("usage: %s MRZ-INFORMATION FOLDER FILE...", argv[0]);
	srand(time(NULL));
	nfc_init(&context);
	if (nfc_list_devices(context, &name, 1) != 1)
		fail("NFC_PCSC_READER is not set");
	device = nfc_open(context, name);
	mrtd_bac_randomize_rndifd_kifd();
	if (mrtd_bac_keyhandshake(device, (uint8_t *)argv[1], enc, mac, &ssc) != 0)
		fail("BAC failed");
	for (i = 3; i < argc; i++) {
		unsigned long fid = strtoul(argv[i], NULL, 16);
		uint8_t id[2] = { fid >> 8, fid };
		char path[1024];
		FILE *out;
		int length;

		if (mrtd_fileread_read(device, id, content, &length, enc, mac, &ssc) != 0)
			fail("file %s cannot be read", argv[i]);
		snprintf(path, sizeof path, "%s/%s", argv[2], argv[i]);
		out = fopen(path, "wb");
		if (out == NULL || fwrite(content, 1, length, out) != (size_t)length || fclose(out) != 0)
			fail("%s cannot be written", path);
	}
	nfc_close(device);
	return 0;
}

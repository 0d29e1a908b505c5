/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-record.h"

#include <string.h>

/*
 * A message. Its flags are head[1], so that changing them is one byte; head[2] says which of the optional parts are
 * there. In this order:
 *
 *	varint	body id
 *	signed	received, then saved less received
 *	varint	physical size, then signed virtual size less physical size
 *	varint	size of the stored body if PART_BODY_SIZE, else it is the physical size
 *	16 bytes of GUID if PART_GUID_BINARY, else varint length and string
 *	varint	length and string of the POP3 UIDL if PART_POP3_UIDL
 *	varint	POP3 order if PART_POP3_ORDER
 *	varint	least MODSEQ if PART_MODSEQ
 *	keyword bitmap if PART_KEYWORDS: all that is left
 *
 * A usual message takes about 40 bytes with its head.
 */

enum {
	PART_GUID_BINARY = 0x01,
	PART_BODY_SIZE = 0x02,
	PART_POP3_UIDL = 0x04,
	PART_POP3_ORDER = 0x08,
	PART_MODSEQ = 0x10,
	PART_KEYWORDS = 0x20,
	PARTS_KNOWN = 0x3f
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool guid_to_binary(const char *guid, uint8_t binary_r[LMS_GUID_SIZE])
{
	unsigned int i;

	for (i = 0; i < LMS_GUID_SIZE; i++) {
		int high = hex_digit(guid[i * 2]), low = high < 0 ? -1 : hex_digit(guid[i * 2 + 1]);

		if (low < 0)
			return false;
		binary_r[i] = (uint8_t)(high << 4 | low);
	}
	return guid[LMS_GUID_SIZE * 2] == '\0';
}

static void guid_to_hex(const uint8_t binary[LMS_GUID_SIZE], char *hex_r)
{
	static const char digits[] = "0123456789abcdef";
	unsigned int i;

	for (i = 0; i < LMS_GUID_SIZE; i++) {
		*hex_r++ = digits[binary[i] >> 4];
		*hex_r++ = digits[binary[i] & 15];
	}
	*hex_r = '\0';
}

static void add_string(struct lms_buffer *buf, const char *string)
{
	size_t size = strlen(string);

	lms_buffer_add_varint(buf, size);
	lms_buffer_add(buf, string, size + 1);
}

static size_t keyword_bytes_used(const struct lms_message *message)
{
	size_t size = message->keyword_bytes;

	while (size > 0 && message->keywords[size - 1] == 0)
		size--;
	return size;
}

static void encode_optional(const struct lms_message *message, uint8_t *parts, struct lms_buffer *buf)
{
	size_t keyword_bytes = keyword_bytes_used(message);

	if (message->pop3_uidl != NULL) {
		*parts |= PART_POP3_UIDL;
		add_string(buf, message->pop3_uidl);
	}
	if (message->pop3_order != 0) {
		*parts |= PART_POP3_ORDER;
		lms_buffer_add_varint(buf, message->pop3_order);
	}
	if (message->min_modseq != 0) {
		*parts |= PART_MODSEQ;
		lms_buffer_add_varint(buf, message->min_modseq);
	}
	if (keyword_bytes > 0) {
		*parts |= PART_KEYWORDS;
		lms_buffer_add(buf, message->keywords, keyword_bytes);
	}
}

void lms_message_encode(const struct lms_message *message, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	uint8_t guid[LMS_GUID_SIZE], parts = 0;

	lms_buffer_add_varint(buf, message->body_id);
	lms_buffer_add_signed(buf, message->received);
	lms_buffer_add_signed(buf, (int64_t)((uint64_t)message->saved - (uint64_t)message->received));
	lms_buffer_add_varint(buf, message->physical_size);
	lms_buffer_add_signed(buf, (int64_t)(message->virtual_size - message->physical_size));
	if (message->body_size != message->physical_size) {
		parts |= PART_BODY_SIZE;
		lms_buffer_add_varint(buf, message->body_size);
	}
	if (guid_to_binary(message->guid, guid)) {
		parts |= PART_GUID_BINARY;
		lms_buffer_add(buf, guid, sizeof(guid));
	} else {
		add_string(buf, message->guid);
	}
	encode_optional(message, &parts, buf);
	head[0] = LMS_RECORD_VERSION;
	head[1] = message->flags;
	head[2] = parts;
	head[3] = 0;
}

static void decode_optional(struct lms_reader *reader, uint8_t parts, struct lms_message *message_r)
{
	message_r->pop3_uidl = NULL;
	message_r->pop3_order = 0;
	message_r->min_modseq = 0;
	if ((parts & PART_POP3_UIDL) != 0)
		message_r->pop3_uidl = lms_reader_string(reader, lms_reader_varint(reader));
	if ((parts & PART_POP3_ORDER) != 0)
		message_r->pop3_order = (uint32_t)lms_reader_varint(reader);
	if ((parts & PART_MODSEQ) != 0)
		message_r->min_modseq = lms_reader_varint(reader);
	message_r->keyword_bytes = (parts & PART_KEYWORDS) != 0 ? lms_reader_left(reader) : 0;
	message_r->keywords = lms_reader_bytes(reader, message_r->keyword_bytes);
}

int lms_message_decode(const struct lms_value *value, uint32_t uid, char guid_buffer[LMS_GUID_SIZE * 2 + 1],
		       struct lms_message *message_r)
{
	struct lms_reader reader;
	uint8_t parts = value->head[2];
	const uint8_t *guid;

	lms_reader_init(&reader, value->data, value->size);
	message_r->uid = uid;
	message_r->flags = value->head[1];
	message_r->body_id = lms_reader_varint(&reader);
	message_r->received = lms_reader_signed(&reader);
	message_r->saved = (int64_t)((uint64_t)message_r->received + (uint64_t)lms_reader_signed(&reader));
	message_r->physical_size = lms_reader_varint(&reader);
	message_r->virtual_size = message_r->physical_size + (uint64_t)lms_reader_signed(&reader);
	message_r->body_size = (parts & PART_BODY_SIZE) != 0 ? lms_reader_varint(&reader) : message_r->physical_size;
	if ((parts & PART_GUID_BINARY) != 0) {
		guid = lms_reader_bytes(&reader, LMS_GUID_SIZE);
		if (guid != NULL)
			guid_to_hex(guid, guid_buffer);
		message_r->guid = guid_buffer;
	} else {
		message_r->guid = lms_reader_string(&reader, lms_reader_varint(&reader));
	}
	decode_optional(&reader, parts, message_r);
	return reader.failed || reader.pos != reader.end || (parts & ~PARTS_KNOWN) != 0 ? -1 : 0;
}

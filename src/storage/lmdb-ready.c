/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "buffer.h"
#include "numpack.h"
#include "str.h"
#include "message-part-serialize.h"
#include "index-mail.h"
#include "lmdb-compat.h"
#include "lmdb-ready.h"
#include "lms-message.h"

#define READY_VERSION 1

static void add_bytes(buffer_t *dest, const void *data, size_t size)
{
	numpack_encode(dest, size);
	buffer_append(dest, data, size);
}

static bool encode(struct index_mail_data *data, buffer_t *dest)
{
	string_t *bodystructure = t_str_new(512);
	buffer_t *parts = t_buffer_create(512);
	const char *error;

	if (lmdb_bodystructure_write(data->parts, bodystructure, &error) < 0)
		return FALSE;
	message_part_serialize(data->parts, parts);
	buffer_append_c(dest, READY_VERSION);
	add_bytes(dest, data->envelope, strlen(data->envelope));
	add_bytes(dest, str_data(bodystructure), str_len(bodystructure));
	add_bytes(dest, parts->data, parts->used);
	return dest->used <= LMS_READY_MAX;
}

void lmdb_ready_encode(struct mail *mail, buffer_t *dest)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct index_mail_data *data = &imail->data;
	bool encoded;

	if (data->envelope == NULL || data->parts == NULL || !data->parsed_bodystructure)
		return;
	T_BEGIN {
		encoded = encode(data, dest);
	} T_END;
	if (!encoded)
		buffer_set_used_size(dest, 0);
}

static bool get_item(const uint8_t **pos, const uint8_t *end, struct lmdb_ready_item *item_r)
{
	uint64_t size;

	if (numpack_decode(pos, end, &size) < 0 || size > (size_t)(end - *pos))
		return FALSE;
	item_r->data = *pos;
	item_r->size = size;
	*pos += size;
	return TRUE;
}

bool lmdb_ready_decode(const void *data, size_t size, struct lmdb_ready *ready_r)
{
	const uint8_t *pos = data, *end = pos + size;

	return size > 0 && *pos++ == READY_VERSION &&
		get_item(&pos, end, &ready_r->envelope) &&
		get_item(&pos, end, &ready_r->bodystructure) &&
		get_item(&pos, end, &ready_r->parts) && pos == end;
}

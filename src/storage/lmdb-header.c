/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "str.h"
#include "mail-storage-private.h"
#include "lmdb-header.h"

static bool is_wanted(const struct mailbox_header_lookup_ctx *wanted, const unsigned char *name, size_t size)
{
	for (unsigned int i = 0; i < wanted->count; i++) {
		const char *other = wanted->name[i];

		if (((other[0] ^ name[0]) & 0xdf) == 0 && strncasecmp(other, (const char *)name, size) == 0 &&
		    other[size] == '\0')
			return TRUE;
	}
	return FALSE;
}

/* Add the wanted lines. Returns the end of the header, or NULL if it isn't an ordinary one. */
static const unsigned char *
select_lines(const unsigned char *data, const unsigned char *end, const struct mailbox_header_lookup_ctx *wanted,
	     string_t *dest)
{
	const unsigned char *next, *colon;
	bool take = FALSE, first = TRUE;

	for (; data < end && *data != '\n'; data = next, first = FALSE) {
		next = memchr(data, '\n', end - data);
		if (next == NULL)
			return NULL;
		next++;
		if (*data != ' ' && *data != '\t') {
			colon = memchr(data, ':', next - data);
			/* core takes white space from the end of a name */
			if (colon == NULL || colon == data || colon[-1] == ' ' || colon[-1] == '\t')
				return NULL;
			take = is_wanted(wanted, data, colon - data);
		} else if (first)
			return NULL;
		if (take)
			str_append_data(dest, data, next - data);
	}
	return data < end ? data : NULL;
}

bool lmdb_header_select(const unsigned char *data, size_t size, const struct mailbox_header_lookup_ctx *wanted,
			string_t *dest)
{
	const unsigned char *end = select_lines(data, data + size, wanted, dest);

	if (end == NULL || memchr(data, '\r', end - data) != NULL || memchr(data, '\0', end - data) != NULL)
		return FALSE;
	str_append_c(dest, '\n');
	return TRUE;
}

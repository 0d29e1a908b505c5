/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-text.h"

#include <string.h>

#define SP LSI_CLASS_SPACE
#define WO LSI_CLASS_WORD
#define PU LSI_CLASS_PUNCTUATION
#define ID LSI_CLASS_IDEOGRAPH

static const uint8_t ascii_classes[128] = {
	SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP,
	SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP,
	SP, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU, PU,
	WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, PU, PU, PU, PU, PU, PU,
	PU, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO,
	WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, PU, PU, PU, PU, PU,
	PU, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO,
	WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, WO, PU, PU, PU, PU, SP
};

/* Beyond ASCII: class from this code point on. Letters, marks and all that isn't listed are word characters. */
static const struct {
	uint32_t first;
	enum lsi_class class;
} ranges[] = {
	{ 0x80, SP }, { 0xa1, PU }, { 0xc0, WO },
	{ 0x2000, SP }, { 0x2010, PU }, { 0x2028, SP }, { 0x2030, PU }, { 0x205f, SP }, { 0x2070, WO },
	{ 0x20a0, PU }, { 0x20d0, WO }, { 0x2190, PU }, { 0x2c00, WO },
	{ 0x2e00, PU }, { 0x2e80, ID }, { 0x3000, SP }, { 0x3001, PU }, { 0x3005, ID }, { 0x3008, PU },
	{ 0x3021, ID }, { 0x3030, PU }, { 0x3031, ID }, { 0x3130, WO }, { 0x3190, ID }, { 0x4dc0, PU },
	{ 0x4e00, ID }, { 0xa000, WO }, { 0xf900, ID }, { 0xfb00, WO }, { 0xfe10, PU }, { 0xfe20, WO },
	{ 0xfe30, PU }, { 0xfe70, WO }, { 0xfeff, SP }, { 0xff00, PU }, { 0xff66, ID }, { 0xffa0, WO },
	{ 0xffe0, PU }, { 0xfff0, SP }, { 0x10000, WO }, { 0x1f000, PU }, { 0x1fb00, WO }, { 0x20000, ID },
	{ 0x40000, WO }
};

static enum lsi_class class_of(uint32_t chr)
{
	unsigned int low = 0, high = sizeof(ranges) / sizeof(ranges[0]);

	while (high - low > 1) {
		unsigned int middle = (low + high) / 2;

		if (ranges[middle].first <= chr)
			low = middle;
		else
			high = middle;
	}
	return ranges[low].class;
}

enum lsi_class lsi_text_class(const uint8_t *data, size_t size, size_t *char_size_r)
{
	uint32_t chr;
	size_t i, count;

	*char_size_r = 1;
	if (data[0] < 0x80)
		return ascii_classes[data[0]];
	if (data[0] >= 0xc2 && data[0] < 0xe0)
		count = 2;
	else if (data[0] >= 0xe0 && data[0] < 0xf0)
		count = 3;
	else if (data[0] >= 0xf0 && data[0] < 0xf5)
		count = 4;
	else
		return LSI_CLASS_SPACE;
	chr = data[0] & (0x7fu >> count);
	for (i = 1; i < count && i < size; i++) {
		/* Not a character: the byte stands alone, and what follows is looked at for itself. */
		if ((data[i] & 0xc0) != 0x80)
			return LSI_CLASS_SPACE;
		chr = chr << 6 | (data[i] & 0x3f);
	}
	*char_size_r = i < count ? 0 : count;
	return i < count ? LSI_CLASS_SPACE : class_of(chr);
}

void lsi_cutter_init(struct lsi_cutter *cutter, lsi_token_callback *callback, void *context)
{
	memset(cutter, 0, sizeof(*cutter));
	cutter->callback = callback;
	cutter->context = context;
}

static void end_run(struct lsi_cutter *cutter)
{
	/* Of ideographs, what is left was in a pair already. */
	if (cutter->run_size > 0 && !(cutter->class == LSI_CLASS_IDEOGRAPH && cutter->cut))
		cutter->callback(cutter->run, cutter->run_size, cutter->context);
	cutter->run_size = 0;
	cutter->cut = false;
}

static void add_to_run(struct lsi_cutter *cutter, const uint8_t *data, size_t size)
{
	size_t room;

	while (size > 0) {
		if (cutter->run_size == LSI_TOKEN_MAX) {
			cutter->callback(cutter->run, LSI_TOKEN_MAX, cutter->context);
			memmove(cutter->run, cutter->run + LSI_WINDOW_STEP, LSI_TOKEN_MAX - LSI_WINDOW_STEP);
			cutter->run_size = LSI_TOKEN_MAX - LSI_WINDOW_STEP;
		}
		room = LSI_TOKEN_MAX - cutter->run_size;
		if (room > size)
			room = size;
		memcpy(cutter->run + cutter->run_size, data, room);
		cutter->run_size += room;
		data += room;
		size -= room;
	}
}

static void add_ideograph(struct lsi_cutter *cutter, const uint8_t *data, size_t size)
{
	if (cutter->run_size > 0) {
		memcpy(cutter->run + cutter->run_size, data, size);
		cutter->callback(cutter->run, cutter->run_size + size, cutter->context);
		cutter->cut = true;
	}
	memcpy(cutter->run, data, size);
	cutter->run_size = size;
}

static void add_char(struct lsi_cutter *cutter, enum lsi_class class, const uint8_t *data, size_t size)
{
	if (class != cutter->class) {
		end_run(cutter);
		cutter->class = class;
	}
	if (class == LSI_CLASS_IDEOGRAPH)
		add_ideograph(cutter, data, size);
	else if (class != LSI_CLASS_SPACE)
		add_to_run(cutter, data, size);
}

/* Complete the character that began in the piece before. Returns how much of this one belongs to it. */
static size_t add_part(struct lsi_cutter *cutter, const uint8_t *data, size_t size)
{
	size_t used = 0, char_size = 0;
	enum lsi_class class = LSI_CLASS_SPACE;

	while (used < size && char_size == 0) {
		cutter->part[cutter->part_size++] = data[used++];
		class = lsi_text_class(cutter->part, cutter->part_size, &char_size);
	}
	if (char_size == 0)
		return used;
	add_char(cutter, class, cutter->part, char_size);
	/* If it turned out to be none, continuation bytes that stand alone follow; the last byte wasn't one. */
	if (char_size < cutter->part_size) {
		add_char(cutter, LSI_CLASS_SPACE, cutter->part, 1);
		used--;
	}
	cutter->part_size = 0;
	return used;
}

void lsi_cutter_add(struct lsi_cutter *cutter, const void *_data, size_t size)
{
	const uint8_t *data = _data, *end = data + size, *begin;
	enum lsi_class class;
	size_t char_size;

	if (cutter->part_size > 0)
		data += add_part(cutter, data, size);
	while (data < end) {
		if (*data < 0x80) {
			/* As many as there are of one class */
			class = ascii_classes[*data];
			for (begin = data++; data < end && *data < 0x80 && ascii_classes[*data] == class; data++) ;
			add_char(cutter, class, begin, (size_t)(data - begin));
			continue;
		}
		class = lsi_text_class(data, (size_t)(end - data), &char_size);
		if (char_size == 0) {
			cutter->part_size = (size_t)(end - data);
			memcpy(cutter->part, data, cutter->part_size);
			return;
		}
		add_char(cutter, class, data, char_size);
		data += char_size;
	}
}

void lsi_cutter_end(struct lsi_cutter *cutter)
{
	end_run(cutter);
	cutter->class = LSI_CLASS_SPACE;
	cutter->part_size = 0;
}

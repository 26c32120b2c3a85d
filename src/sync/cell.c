/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A cell's life: an object of which one member writes. Who it is stands in the body, by its slot; whether it lives, the kernel
 * knows: a dead one's slot is reclaimed, here by its successor or elsewhere by whoever gets the slot. */

#include "sync/cell.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/name.h"
#include "shm/segment.h"

#include <errno.h>

#define WRITER_TRIES 16

static uint32_t *word_at(void *page, unsigned offset) { return (uint32_t *)(void *)((uint8_t *)page + offset); }

/* ---- What an object asks its kind ---- */

static int cell_check(struct object *object, const struct object_request *request) {
    uint64_t size = object->parameters[0], wanted = request->parameters[0];
    if (size == 0 || size > HAWSER_CELL_SIZE_MAX || object->size < cell_memory_bytes(size))
        return error_set(-EPROTO, "the cell says that its values have up to %llu bytes, and has %llu for them", (unsigned long long)size,
                         (unsigned long long)object->size);
    if (wanted != 0 && wanted != size)
        return error_set(-EINVAL, "the cell is there, with values of up to %llu bytes, not %llu", (unsigned long long)size,
                         (unsigned long long)wanted);
    return 0;
}

/* Runs again from the start wherever it was cut short. A reader that gets a dead writer's slot cannot say so in its read-only map,
 * and lives: it must not be taken for the writer. */
static void cell_reclaim(struct object *object, uint32_t slot) {
    uint32_t *word = word_at(object->body, CELL_WRITER_OFFSET), found = load_relaxed(word);
    struct cell_state *state = object->state;
    if (found != slot && slot != OBJECT_EVERY)
        return;
    if (object->access == OBJECT_WRITE)
        compare_exchange(word, &found, 0); /* pairs with become_writer */
    else
        store_relaxed(&state->stale, 1);
}

static void cell_settle(struct hawser_cell *cell) {
    struct cell_state *state = cell->object->state;
    uint32_t slot = cell->object->slot;
    if (cell->waiting && load_relaxed(&state->stale) != 0 && exchange_acquire(&state->stale, 0) != 0) /* pairs with nothing: once is enough */
        compare_exchange(cell->writer_slot, &slot, 0); /* pairs with become_writer */
}

int cell_join(struct hawser_cell *cell) {
    int r = object_join(cell->object);
    if (r == 0)
        cell_settle(cell);
    return r;
}

static const struct object_kind cell_kind = {
    .tag = OBJECT_CELL,
    .version = CELL_VERSION,
    .scheme = "cell",
    .what = "a cell",
    .state_size = sizeof(struct cell_state),
    .check = cell_check,
    .reclaim = cell_reclaim,
};

/* ---- Addresses ---- */

struct place {
    struct address address;
    struct options options;
    uint64_t size;
    bool permanent;
};

static int place_of(const char *text, const hawser_options *options, struct place *ret_place) {
    static const char *const schemes[] = { "cell", NULL };
    unsigned scheme;
    *ret_place = (struct place){ .size = 0 };
    const struct own_option own[] = {
        { "size", own_option_size, &ret_place->size, "expected a size, as in 64 or 4K" },
        { "permanent", own_option_switch, &ret_place->permanent, "expected yes or no" },
        { NULL, NULL, NULL, NULL },
    };
    int r = address_parse_as(text, schemes, &ret_place->address, &scheme);
    if (r == 0)
        r = options_resolve_own(options, &ret_place->address, own, &ret_place->options);
    if (r == 0 && ret_place->size > HAWSER_CELL_SIZE_MAX)
        r = error_set(-EINVAL, "address \"%s\": a value has 1 to %llu bytes", text, (unsigned long long)HAWSER_CELL_SIZE_MAX);
    return r;
}

/* ---- Handles ---- */

static void cell_free(struct hawser_cell *cell) {
    if (cell->page_map)
        sys_munmap(cell->page_map, CELL_PAGE);
    object_close(cell->object);
    memory_free(cell);
}

/* A handle of the object, which it takes over; on failure too. */
static int cell_new(struct object *object, const struct options *options, hawser_cell **ret_cell) {
    int r = 0;
    struct hawser_cell *cell = memory_new(sizeof *cell);
    if (!cell) {
        object_close(object);
        return error_note(-ENOMEM, "open a cell: there is no memory");
    }
    cell->object = object;
    cell_memory_init(&cell->memory, object->body, object->parameters[0]);
    ladder_init(&cell->ladder, options->wait, false, false);
    cell->ladder.until_placed = 0;
    if (object->access == OBJECT_GUARDED)
        r = object_map_writable(object, 0, CELL_PAGE, &cell->page_map);
    if (r < 0) {
        cell_free(cell);
        return r;
    }
    void *page = cell->page_map ? cell->page_map : object->body;
    cell->waiting = object->access == OBJECT_READ ? NULL : word_at(page, CELL_WAITING_OFFSET);
    cell->writer_slot = word_at(page, CELL_WRITER_OFFSET);
    cell_settle(cell);
    *ret_cell = cell;
    return 0;
}

/* Takes the writing over, from nobody or a dead one. */
static int become_writer(struct hawser_cell *cell, const char *address) {
    struct object *object = cell->object;
    uint32_t *word = cell->writer_slot, found = 0;
    pid_t pid = 0;
    for (int i = 0; i < WRITER_TRIES; i++) {
        if (compare_exchange(word, &found, object->slot)) { /* pairs with cell_reclaim, cell_settle, hawser_cell_close */
            cell->writer = process_self();
            cell_memory_succeed(&cell->memory);
            cell->registered = barrier_prepare() & SHM_BARRIER_REGISTERED;
            return 0;
        }
        if (found == object->slot)
            return error_set(-EBUSY, "create %s: this process writes it already", address);
        if (found <= OBJECT_SLOTS && !object_reclaim(object, found))
            break;
        found = found <= OBJECT_SLOTS ? 0 : found; /* what no slot is, nobody holds */
    }
    if (object_holder(object, found, &pid) < 0 || pid == 0)
        return error_set(-EBUSY, "create %s: it has a writer, and a cell has one at a time", address);
    return error_set(-EBUSY, "create %s: process %d writes it, and a cell has one writer at a time", address, (int)pid);
}

HAWSER_PUBLIC int hawser_cell_create(const char *address, const hawser_options *options, uint64_t size, hawser_cell **ret_cell) {
    struct place place;
    struct object *object;
    hawser_cell *cell;
    if (!ret_cell || size > HAWSER_CELL_SIZE_MAX)
        return error_note(-EINVAL, ret_cell ? "create a cell: a value has 1 to 2^30 bytes" : "create a cell: ret_cell is NULL");
    int r = place_of(address, options, &place);
    if (r < 0)
        return r;
    if (size && place.size && size != place.size)
        return error_set(-EINVAL, "create %s: the size is %llu, and %llu in the address", place.address.text, (unsigned long long)size,
                         (unsigned long long)place.size);
    size = place.size ? place.size : size;
    struct object_request request = {
        .kind = &cell_kind, .address = &place.address, .options = &place.options, .access = OBJECT_WRITE,
        .size = size ? cell_memory_bytes(size) : 0, .parameters = { size }, .permanent = place.permanent, .others_read = true,
    };
    if (size == 0 && !place.address.place[0])
        return error_note(-EINVAL, "create a cell without a name: it needs a size");
    r = object_open(&request, &object);
    if (r == 0)
        r = cell_new(object, &place.options, &cell);
    if (r < 0)
        return error_within(r, "create a cell");
    r = become_writer(cell, place.address.text);
    if (r < 0) {
        cell_free(cell);
        return r;
    }
    *ret_cell = cell;
    return 0;
}

/* To read: so that it can ask to be woken, or, where it may not, not. */
static int open_existing(const struct place *place, struct object **ret_object) {
    struct object_request request = {
        .kind = &cell_kind, .address = &place->address, .options = &place->options, .access = OBJECT_GUARDED,
        .parameters = { place->size },
    };
    int r = object_open(&request, ret_object);
    if (r != -EACCES)
        return r;
    request.access = OBJECT_READ;
    return object_open(&request, ret_object);
}

static int open_until(const struct place *place, int64_t timeout, struct object **ret_object) {
    int64_t nap_ns = NAME_NAP_NS, deadline = deadline_after(timeout);
    int r;
    while ((r = open_existing(place, ret_object)) == -ENOENT) {
        if (timeout == HAWSER_NOW)
            return error_set(-EAGAIN, "open %s: there is no such cell; hawser_cell_create() makes one", place->address.text);
        if (deadline_passed(deadline))
            return error_set(-ETIMEDOUT, "open %s: nobody made such a cell within the timeout", place->address.text);
        name_nap(&nap_ns, deadline);
    }
    return r;
}

HAWSER_PUBLIC int hawser_cell_open(const char *address, const hawser_options *options, int64_t timeout, hawser_cell **ret_cell) {
    struct place place;
    struct object *object;
    if (!ret_cell || timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, ret_cell ? "open a cell: the timeout is negative" : "open a cell: ret_cell is NULL");
    int r = place_of(address, options, &place);
    if (r < 0)
        return r;
    if (!place.address.place[0])
        return error_note(-EINVAL, "open a cell without a name: such a one is inherited by fork, or adopted");
    r = open_until(&place, timeout, &object);
    if (r == -EAGAIN || r == -ETIMEDOUT)
        return r;
    return r < 0 ? error_within(r, "open a cell") : cell_new(object, &place.options, ret_cell);
}

HAWSER_PUBLIC hawser_cell *hawser_cell_close(hawser_cell *cell) {
    if (!cell)
        return NULL;
    if (cell->writer != 0 && cell->writer == process_self())
        store_release(cell->writer_slot, 0); /* pairs with become_writer */
    cell_free(cell);
    return NULL;
}

HAWSER_PUBLIC int hawser_cell_remove(const char *address, const hawser_options *options) {
    struct place place;
    struct object *object;
    int r = place_of(address, options, &place);
    if (r == 0 && !place.address.place[0])
        r = error_note(-EINVAL, "remove a cell: it needs a name");
    if (r == 0)
        r = open_existing(&place, &object);
    if (r < 0)
        return r == -EINVAL ? r : error_within(r, "remove a cell");
    r = object_unlink(object);
    object_close(object);
    return r < 0 ? error_within(r, "remove a cell") : 0;
}

HAWSER_PUBLIC int hawser_cell_export(hawser_cell *cell, int *ret_fd) {
    if (!cell || !ret_fd)
        return error_note(-EINVAL, "export a cell: an argument is NULL");
    int r = cell_enter(cell);
    return r < 0 ? r : object_export(cell->object, OBJECT_READ, ret_fd);
}

HAWSER_PUBLIC int hawser_cell_adopt(int fd, const hawser_options *options, hawser_cell **ret_cell) {
    struct place place;
    struct object *object;
    if (!ret_cell)
        return error_note(-EINVAL, "adopt a cell: ret_cell is NULL");
    int r = place_of("cell://", options, &place);
    if (r == 0)
        r = object_adopt(fd, &cell_kind, OBJECT_READ, &object);
    return r < 0 ? r : cell_new(object, &place.options, ret_cell);
}

HAWSER_PUBLIC size_t hawser_cell_size(const hawser_cell *cell) { return cell ? cell->memory.size : 0; }

HAWSER_PUBLIC int hawser_cell_status(hawser_cell *cell, struct hawser_cell_status *ret_status) {
    if (!cell || !ret_status || ret_status->struct_size < sizeof *ret_status)
        return error_note(-EINVAL, "a cell's status: an argument is NULL or was not set up by HAWSER_CELL_STATUS_INIT");
    int r = cell_enter(cell);
    if (r < 0)
        return r;
    struct hawser_cell_status status = HAWSER_CELL_STATUS_INIT;
    status.size = cell->memory.size;
    status.bytes = cell->object->size;
    status.version = cell_version_of(load_relaxed(cell->memory.published));
    status.processes = object_members(cell->object, OBJECT_SLOTS + 1);
    uint32_t slot = load_relaxed(cell->writer_slot);
    if (slot != 0 && object_holder(cell->object, slot, &status.writer) < 0)
        status.writer = 0;
    else if (slot != 0 && status.writer == 0)
        status.writer = -1;
    *ret_status = status;
    return 0;
}

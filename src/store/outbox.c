#include "store/outbox.h"

#include "base/clock.h"
#include "base/json.h"
#include "store/store_int.h"

#define PAYLOAD_MAX ((size_t)4096)

static void read_webhook(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct webhook *)row = (struct webhook){.id = col_z(st, 0, mem),
                                              .created_at = col_i64(st, 1),
                                              .url = col_z(st, 2, mem),
                                              .secret = col_z(st, 3, mem)};
}
static const struct table webhooks = {.name = "webhook",
                                      .columns = "id, created_at, url, secret",
                                      .what = "webhook",
                                      .row_size = sizeof(struct webhook),
                                      .read = read_webhook};

static void read_message(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct outbox_message *)row = (struct outbox_message){.id = col_z(st, 0, mem),
                                                            .created_at = col_i64(st, 1),
                                                            .event = col_z(st, 2, mem),
                                                            .endpoint = col_z(st, 3, mem),
                                                            .payload = col_z(st, 4, mem),
                                                            .attempts = col_i64(st, 5),
                                                            .next_attempt_at = col_i64(st, 6),
                                                            .delivered_at = col_i64(st, 7)};
}
static const struct table messages = {
    .name = "outbox",
    .columns = "id, created_at, event, endpoint, payload, attempts, next_attempt_at, delivered_at",
    .what = "message",
    .row_size = sizeof(struct outbox_message),
    .read = read_message};

static void read_delivery(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct delivery *)row = (struct delivery){.at = col_i64(st, 0),
                                                .http_status = col_i64(st, 1),
                                                .message = col_z(st, 2, mem),
                                                .event = col_z(st, 3, mem),
                                                .type = col_z(st, 4, mem),
                                                .endpoint = col_z(st, 5, mem)};
}
#define OF_MESSAGE(what) "(SELECT " what " FROM outbox WHERE id = delivery.outbox)"
static const struct table deliveries = {
    .name = "delivery",
    .columns = "at, http_status, message, " OF_MESSAGE("event") ", " OF_MESSAGE(
        "payload ->> '$.type'") ", " OF_MESSAGE("endpoint"),
    .what = "delivery",
    .row_size = sizeof(struct delivery),
    .read = read_delivery};

int webhooks_add(struct catalog *c, const char *url, const char *secret, struct arena *mem,
                 struct webhook *ret, struct err *err) {
    char id[ID_SIZE];
    id_new("we_", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer, "INSERT INTO webhook(id, created_at, url, secret) VALUES (?, ?, ?, ?)",
                VALS(v_z(id), v_i(clock_unix()), v_z(url), v_z(secret)), err);
    if (!rc) rc = table_get(&c->writer, &webhooks, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int webhooks_list(struct catalog *c, struct arena *mem, struct webhook_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &webhooks, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct webhook_list){out.rows, out.count};
    return rc;
}

int webhooks_delete(struct catalog *c, const char *id, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer, "DELETE FROM webhook WHERE id = ?", VALS(v_z(id)), err);
    if (!rc && db_changes(&c->writer) == 0) rc = no_such(&webhooks, id, err);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE outbox SET next_attempt_at = NULL WHERE endpoint = ?",
                    VALS(v_z(id)), err);
    return store_write_end(c, rc, err);
}

static void write_payload(struct buf *b, const char *event, const char *type, const char *subject) {
    buf_printf(b, "{\"id\":\"%s\",\"object\":\"event\",\"created_at\":%lld,\"type\":", event,
               (long long)clock_unix());
    json_write_str(b, str_of(type));
    buf_z(b, ",\"data\":{\"id\":");
    json_write_str(b, str_of(subject));
    buf_z(b, "}}");
}

int outbox_emit(struct catalog *c, const char *type, const char *subject, struct err *err) {
    char event[ID_SIZE];
    struct buf b;
    id_new("evt_", event);
    buf_init(&b, PAYLOAD_MAX);
    write_payload(&b, event, type, subject);
    int rc =
        buf_ok(&b) ? 0 : err_set(err, ERR_LIMIT, "the event of \"%.80s\" is too long", subject);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO outbox(id, created_at, event, endpoint, payload, next_attempt_at) "
                    "SELECT 'msg_' || lower(hex(randomblob(12))), ?, ?, id, ?, ? FROM webhook",
                    VALS(v_i(clock_unix()), v_z(event), v_s(buf_view(&b)), v_i(clock_unix())), err);
    buf_release(&b);
    return rc;
}

int outbox_due(struct catalog *c, const char *endpoint, int64_t now, int64_t limit,
               struct arena *mem, struct outbox_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "next_attempt_at <= ?", v_i(now));
    if (endpoint) where_add(&w, "endpoint = ?", v_z(endpoint));
    int rc = store_list(c, &messages, &w, &(struct page){.limit = limit, .ascending = true}, mem,
                        &out, err);
    if (!rc) *ret = (struct outbox_list){out.rows, out.count, out.has_more};
    return rc;
}

int outbox_attempted(struct catalog *c, const char *id, const struct outbox_attempt *a,
                     struct err *err) {
    int64_t now = clock_unix();
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = ?, "
                "delivered_at = coalesce(delivered_at, ?) WHERE id = ?",
                VALS(v_time(a->delivered ? 0 : a->next_attempt_at), v_time(a->delivered ? now : 0),
                     v_z(id)),
                err);
    if (!rc && db_changes(&c->writer) == 0) rc = no_such(&messages, id, err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO delivery(outbox, at, http_status, message) VALUES (?, ?, ?, ?)",
                    VALS(v_z(id), v_i(now), v_time(a->http_status), v_z(a->message)), err);
    return store_write_end(c, rc, err);
}

int deliveries_list(struct catalog *c, const char *message, struct arena *mem,
                    struct delivery_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "outbox = ?", v_z(message));
    int rc = store_list(c, &deliveries, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct delivery_list){out.rows, out.count};
    return rc;
}

int deliveries_recent(struct catalog *c, int64_t limit, struct arena *mem,
                      struct delivery_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &deliveries, &w, &(struct page){.limit = limit}, mem, &out, err);
    if (!rc) *ret = (struct delivery_list){out.rows, out.count};
    return rc;
}

/* Webhooks as Standard Webhooks and OpenAI's SDKs expect them: messages of the outbox are POSTed to
 * their endpoints with webhook-id, webhook-timestamp and webhook-signature, again and again with
 * growing pauses until the endpoint answers 2xx or three days are over. Every attempt is logged in
 * the catalog. Redirects are not followed. docs/webhooks.md. */
#ifndef API_WEBHOOKS_H
#define API_WEBHOOKS_H

#include "base/buf.h"
#include "store/catalog.h"

/* One round: sends what is due at `now` (Unix seconds). *stop, once set, breaks it off: what was
 * not delivered stays due. NULL: nothing does. */
int webhooks_deliver(struct catalog *c, int64_t now, const _Atomic int *stop, struct err *err);
/* "v1,<base64>" of id.timestamp.body with the secret "whsec_<base64>" (or its bytes as they are) */
void webhook_signature(struct str secret, const char *id, int64_t timestamp, struct str body,
                       struct buf *out);

/* A thread that delivers while the server runs. */
struct webhook_sender;
int webhook_sender_start(struct catalog *c, struct webhook_sender **ret, struct err *err);
void webhook_sender_stop(struct webhook_sender *s); /* NULL is fine; breaks an attempt off */

#endif

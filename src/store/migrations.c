/* The catalog's tables. Migrations are forward only: what was released is never edited, a change is
 * a new string at the end. `seq` is the order in which rows were made. */
#include "store/store_int.h"

#define ROW "seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "

static const char first[] =
    "CREATE TABLE file(" ROW "created_at INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "filename TEXT NOT NULL, purpose TEXT NOT NULL, status TEXT NOT NULL, status_details TEXT, "
    "expires_at INTEGER, blob TEXT NOT NULL) STRICT;"
    "CREATE INDEX file_blob ON file(blob);"

    "CREATE TABLE upload(" ROW "created_at INTEGER NOT NULL, filename TEXT NOT NULL, "
    "purpose TEXT NOT NULL, mime_type TEXT NOT NULL, bytes INTEGER NOT NULL, "
    "status TEXT NOT NULL, expires_at INTEGER NOT NULL, file_expires_after INTEGER, "
    "file TEXT) STRICT;"
    "CREATE TABLE upload_part(" ROW "created_at INTEGER NOT NULL, "
    "upload TEXT NOT NULL REFERENCES upload(id) ON DELETE CASCADE, bytes INTEGER NOT NULL, "
    "blob TEXT NOT NULL) STRICT;"
    "CREATE INDEX upload_part_upload ON upload_part(upload);"
    "CREATE INDEX upload_part_blob ON upload_part(blob);"

    "CREATE TABLE ftjob(" ROW "created_at INTEGER NOT NULL, started_at INTEGER, "
    "finished_at INTEGER, estimated_finish INTEGER, status TEXT NOT NULL, model TEXT NOT NULL, "
    "fine_tuned_model TEXT, training_file TEXT NOT NULL, validation_file TEXT, "
    "training_blob TEXT NOT NULL, validation_blob TEXT, method TEXT NOT NULL, method_json TEXT, "
    "given_epochs INTEGER, given_batch INTEGER, given_rate REAL, given_beta REAL, "
    "epochs INTEGER, batch INTEGER, rate REAL, beta REAL, seed INTEGER NOT NULL, suffix TEXT, "
    "metadata TEXT, integrations TEXT, error_code TEXT, error_message TEXT, error_param TEXT, "
    "result_file TEXT, trained_tokens INTEGER, step INTEGER NOT NULL DEFAULT 0, "
    "steps INTEGER NOT NULL DEFAULT 0, claim INTEGER NOT NULL DEFAULT 0, "
    "crashes INTEGER NOT NULL DEFAULT 0, crash_step INTEGER NOT NULL DEFAULT -1, "
    "worker_pid INTEGER, planned_tokens INTEGER) STRICT;"
    "CREATE INDEX ftjob_status ON ftjob(status);"
    "CREATE TABLE ftevent(" ROW "created_at INTEGER NOT NULL, "
    "job TEXT NOT NULL REFERENCES ftjob(id), level TEXT NOT NULL, type TEXT NOT NULL, "
    "message TEXT NOT NULL, data TEXT, once TEXT) STRICT;"
    "CREATE INDEX ftevent_job ON ftevent(job);"
    "CREATE UNIQUE INDEX ftevent_once ON ftevent(job, once);"
    "CREATE TABLE ftcheckpoint(" ROW "created_at INTEGER NOT NULL, "
    "job TEXT NOT NULL REFERENCES ftjob(id), model TEXT NOT NULL, step INTEGER NOT NULL, "
    "metrics TEXT NOT NULL, UNIQUE(job, step)) STRICT;"
    "CREATE TABLE permission(" ROW "created_at INTEGER NOT NULL, checkpoint TEXT NOT NULL, "
    "project TEXT NOT NULL) STRICT;"
    "CREATE INDEX permission_checkpoint ON permission(checkpoint);"

    "CREATE TABLE model(" ROW "created_at INTEGER NOT NULL, kind TEXT NOT NULL, "
    "base TEXT NOT NULL, adapter TEXT NOT NULL, job TEXT, parent TEXT, step INTEGER) STRICT;"
    "CREATE INDEX model_parent ON model(parent);"
    "CREATE TABLE route(" ROW "created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, "
    "target TEXT NOT NULL) STRICT;"

    "CREATE TABLE api_key(" ROW "created_at INTEGER NOT NULL, name TEXT, "
    "hash TEXT NOT NULL UNIQUE, hint TEXT NOT NULL, scopes INTEGER NOT NULL, "
    "expires_at INTEGER, revoked_at INTEGER, last_used_at INTEGER) STRICT;"

    "CREATE TABLE completion(" ROW "created_at INTEGER NOT NULL, model TEXT NOT NULL, "
    "request TEXT NOT NULL, response TEXT NOT NULL, metadata TEXT) STRICT;"

    "CREATE TABLE batch(" ROW "created_at INTEGER NOT NULL, endpoint TEXT NOT NULL, "
    "completion_window TEXT NOT NULL, input_file TEXT NOT NULL, model TEXT, "
    "status TEXT NOT NULL, output_file TEXT, error_file TEXT, errors TEXT, usage TEXT, "
    "metadata TEXT, output_expires_after INTEGER, total INTEGER NOT NULL DEFAULT 0, "
    "completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, "
    "in_progress_at INTEGER, expires_at INTEGER, finalizing_at INTEGER, completed_at INTEGER, "
    "failed_at INTEGER, expired_at INTEGER, cancelling_at INTEGER, cancelled_at INTEGER) STRICT;"

    "CREATE TABLE webhook(" ROW "created_at INTEGER NOT NULL, url TEXT NOT NULL, "
    "secret TEXT NOT NULL) STRICT;"
    "CREATE TABLE outbox(" ROW "created_at INTEGER NOT NULL, event TEXT NOT NULL, "
    "endpoint TEXT NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, "
    "next_attempt_at INTEGER, delivered_at INTEGER, UNIQUE(event, endpoint)) STRICT;"
    "CREATE INDEX outbox_due ON outbox(next_attempt_at);"
    "CREATE TABLE delivery(seq INTEGER PRIMARY KEY AUTOINCREMENT, "
    "outbox TEXT NOT NULL REFERENCES outbox(id) ON DELETE CASCADE, at INTEGER NOT NULL, "
    "http_status INTEGER, message TEXT) STRICT;"
    "CREATE INDEX delivery_outbox ON delivery(outbox);";

/* route.logged: set since there is a log. The states of versions and the ways between them are
 * data: an installation may add its own. */
static const char lifecycle[] =
    "CREATE TABLE audit(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, "
    "subject TEXT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL) STRICT;"
    "CREATE INDEX audit_subject ON audit(subject, seq);"
    "ALTER TABLE route ADD COLUMN logged INTEGER NOT NULL DEFAULT 0;"

    "CREATE TABLE version(" ROW "created_at INTEGER NOT NULL, state TEXT NOT NULL, "
    "record TEXT NOT NULL) STRICT;"
    "CREATE TABLE version_edge(from_state TEXT NOT NULL, to_state TEXT NOT NULL, "
    "PRIMARY KEY(from_state, to_state)) STRICT, WITHOUT ROWID;"
    "INSERT INTO version_edge VALUES ('training', 'evaluating'), ('training', 'failed'), "
    "('evaluating', 'staging'), ('evaluating', 'failed'), ('evaluating', 'archived'), "
    "('staging', 'production'), ('staging', 'evaluating'), ('staging', 'archived'), "
    "('production', 'deprecated'), ('deprecated', 'production'), ('deprecated', 'archived'), "
    "('failed', 'archived'), ('archived', 'staging');"

    "CREATE TABLE schedule(" ROW
    "created_at INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, cron TEXT, "
    "spec TEXT NOT NULL, next_at INTEGER, enabled INTEGER NOT NULL DEFAULT 1, "
    "day INTEGER NOT NULL DEFAULT 0, runs_today INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE schedule_run(" ROW "created_at INTEGER NOT NULL, "
    "schedule TEXT NOT NULL REFERENCES schedule(id) ON DELETE CASCADE, slot INTEGER NOT NULL, "
    "status TEXT NOT NULL, cause TEXT NOT NULL, missed INTEGER NOT NULL, started_at INTEGER, "
    "finished_at INTEGER, result TEXT, UNIQUE(schedule, slot)) STRICT;"
    "CREATE INDEX schedule_run_status ON schedule_run(status);";

/* datasets; what people say of stored completions */
static const char datasets[] =
    "CREATE TABLE dataset(" ROW "created_at INTEGER NOT NULL, secret TEXT NOT NULL) STRICT;"
    "CREATE TABLE dataset_version(" ROW "created_at INTEGER NOT NULL, "
    "dataset TEXT NOT NULL REFERENCES dataset(id), number INTEGER NOT NULL, root TEXT NOT NULL, "
    "recipe TEXT NOT NULL, counts TEXT NOT NULL, UNIQUE(dataset, number)) STRICT;"
    "CREATE TABLE dataset_blob(seq INTEGER PRIMARY KEY AUTOINCREMENT, "
    "version TEXT NOT NULL REFERENCES dataset_version(id), role TEXT NOT NULL, "
    "blob TEXT NOT NULL) STRICT;"
    "CREATE INDEX dataset_blob_version ON dataset_blob(version);"
    "CREATE INDEX dataset_blob_blob ON dataset_blob(blob);"

    "CREATE TABLE feedback(" ROW "created_at INTEGER NOT NULL, "
    "completion TEXT NOT NULL REFERENCES completion(id) ON DELETE CASCADE, score REAL, "
    "correction TEXT, comment TEXT) STRICT;"
    "CREATE INDEX feedback_completion ON feedback(completion);";

static const char traffic[] =
    "CREATE TABLE split(" ROW "created_at INTEGER NOT NULL, run TEXT NOT NULL, "
    "candidate TEXT NOT NULL, salt TEXT NOT NULL, sticky TEXT NOT NULL, share REAL NOT NULL) "
    "STRICT;"
    "CREATE TABLE canary(" ROW "created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, "
    "alias TEXT NOT NULL, baseline TEXT NOT NULL, candidate TEXT NOT NULL, state TEXT NOT NULL, "
    "plan TEXT NOT NULL, reached TEXT NOT NULL, why TEXT) STRICT;"
    "CREATE UNIQUE INDEX canary_running ON canary(alias) WHERE state = 'running';"
    "CREATE INDEX canary_alias ON canary(alias);"
    "CREATE TABLE canary_unit(run TEXT NOT NULL, unit INTEGER NOT NULL, seen INTEGER NOT NULL, "
    "PRIMARY KEY(run, unit)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE canary_answer(completion TEXT PRIMARY KEY, run TEXT NOT NULL, "
    "canary INTEGER NOT NULL, sticks INTEGER NOT NULL, unit INTEGER NOT NULL, "
    "share REAL NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX canary_answer_run ON canary_answer(run);"
    "CREATE TABLE fallback(alias TEXT NOT NULL, place INTEGER NOT NULL, model TEXT NOT NULL, "
    "PRIMARY KEY(alias, place)) STRICT, WITHOUT ROWID;";

/* changed: the order of the last changes, the greatest the newest; eval_changed has it as its seq.
 * Items are listed by place, of the row, from 1, in whatever order they came.
 * The counts of a run are kept beside it, by criterion and by model. */
static const char evals[] =
    "CREATE TABLE eval(" ROW "created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, "
    "changed INTEGER NOT NULL UNIQUE, name TEXT NOT NULL, data_source TEXT NOT NULL, "
    "criteria TEXT NOT NULL, metadata TEXT) STRICT;"
    "CREATE VIEW eval_changed AS SELECT changed AS seq, id, created_at, updated_at, name, "
    "data_source, criteria, metadata FROM eval;"
    "CREATE TABLE eval_run(" ROW "created_at INTEGER NOT NULL, "
    "eval TEXT NOT NULL REFERENCES eval(id) ON DELETE CASCADE, status TEXT NOT NULL, "
    "name TEXT NOT NULL, model TEXT, data_source TEXT NOT NULL, metadata TEXT, error TEXT, "
    "picked TEXT, total INTEGER NOT NULL DEFAULT 0, passed INTEGER NOT NULL DEFAULT 0, "
    "failed INTEGER NOT NULL DEFAULT 0, errored INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX eval_run_eval ON eval_run(eval);"
    "CREATE INDEX eval_run_status ON eval_run(status);"
    "CREATE TABLE eval_item(" ROW "created_at INTEGER NOT NULL, "
    "run TEXT NOT NULL REFERENCES eval_run(id) ON DELETE CASCADE, place INTEGER NOT NULL, "
    "status TEXT NOT NULL, item TEXT NOT NULL, results TEXT NOT NULL, sample TEXT NOT NULL, "
    "UNIQUE(run, place)) STRICT;"
    "CREATE VIEW eval_item_placed AS SELECT place AS seq, id, created_at, run, status, item, "
    "results, sample FROM eval_item;"
    "CREATE TABLE eval_tally(run TEXT NOT NULL REFERENCES eval_run(id) ON DELETE CASCADE, "
    "number INTEGER NOT NULL, criterion TEXT NOT NULL, passed INTEGER NOT NULL, "
    "failed INTEGER NOT NULL, PRIMARY KEY(run, number)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE eval_usage(run TEXT NOT NULL REFERENCES eval_run(id) ON DELETE CASCADE, "
    "model TEXT NOT NULL, calls INTEGER NOT NULL, prompt INTEGER NOT NULL, "
    "completion INTEGER NOT NULL, cached INTEGER NOT NULL, PRIMARY KEY(run, model)) STRICT, "
    "WITHOUT ROWID;";

/* the request log; alarms of drift that stand */
static const char requests[] =
    "CREATE TABLE request(seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, "
    "model TEXT NOT NULL, alias TEXT NOT NULL, key TEXT NOT NULL, completion TEXT, "
    "finish TEXT NOT NULL, status INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, "
    "completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, first_ms REAL NOT NULL, "
    "total_ms REAL NOT NULL, language INTEGER NOT NULL, topic INTEGER NOT NULL, "
    "refusal INTEGER NOT NULL, format INTEGER NOT NULL, prompt TEXT, answer TEXT) STRICT;"
    "CREATE INDEX request_model ON request(model, seq, at_ms);"
    "CREATE INDEX request_at ON request(at_ms);"
    "CREATE TABLE drift_alarm(" ROW "at INTEGER NOT NULL, model TEXT NOT NULL, "
    "stream TEXT NOT NULL, p REAL NOT NULL, psi REAL NOT NULL, stands INTEGER NOT NULL, "
    "UNIQUE(model, stream)) STRICT;";

const char *const store_migrations[] = {first, lifecycle, datasets, traffic, evals, requests};
const int store_migration_count = sizeof store_migrations / sizeof *store_migrations;

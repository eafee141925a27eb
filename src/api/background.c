#include "api/background.h"

#include "base/mem.h"
#include "weights/models.h"

#include <pthread.h>
#include <time.h>

#define LOOK_SECONDS 60 /* for what other processes ordered */

struct background {
    struct api *api;
    const struct background_work *work;
    void (*log)(void *ctx, const char *text);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken;
    _Atomic int stop;
};

static void rest(struct background *b) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOOK_SECONDS;
    pthread_mutex_lock(&b->lock);
    if (!b->woken && !atomic_load(&b->stop)) pthread_cond_timedwait(&b->wake, &b->lock, &until);
    b->woken = false;
    pthread_mutex_unlock(&b->lock);
}

/* The lock goes with the process. */
static int only_one(const struct background *b, int *lock, bool *ret_other, struct err *err) {
    *ret_other = false;
    if (*lock >= 0) return 0;
    int rc = home_lock(b->work->lock, lock, err);
    *ret_other = rc == ERR_CONFLICT;
    return *ret_other ? 0 : rc;
}

static void *run(void *background) {
    struct background *b = background;
    int lock = -1;
    while (!atomic_load(&b->stop)) {
        struct err err;
        bool found = false, other;
        int rc = only_one(b, &lock, &other, &err);
        if (!rc && !other) rc = b->work->next(b->api, &b->stop, &found, &err);
        if (rc && b->log && !atomic_load(&b->stop)) {
            err_wrap(&err, "%s", b->work->waits);
            b->log(NULL, err.msg);
        }
        if (rc || !found) rest(b);
    }
    if (lock >= 0) home_unlock(lock);
    return NULL;
}

int background_start(struct api *api, const struct background_work *work,
                     void (*log)(void *ctx, const char *text), struct background **ret,
                     struct err *err) {
    struct background *b = mem_zalloc(1, sizeof *b);
    b->api = api;
    b->work = work;
    b->log = log;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    int rc = pthread_create(&b->thread, NULL, run, b);
    if (rc) {
        mem_free(b);
        return err_sys(err, rc, "could not start the thread for \"%s\"", work->lock);
    }
    *ret = b;
    return 0;
}

void background_wake(struct background *b) {
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->woken = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

void background_stop(struct background *b) {
    if (!b) return;
    atomic_store(&b->stop, 1);
    background_wake(b);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

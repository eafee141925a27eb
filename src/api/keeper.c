#include "api/keeper.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/files.h"
#include "store/uploads.h"

#include <pthread.h>
#include <time.h>

#define LOOK_SECONDS 60

struct keeper {
    struct catalog *catalog;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping;
};

int keeper_look(struct catalog *c, int64_t now, struct err *err) {
    int rc = files_expire(c, now, err);
    return rc ? rc : uploads_expire(c, now, err);
}

static void *keep(void *arg) {
    struct keeper *k = arg;
    pthread_mutex_lock(&k->lock);
    while (!k->stopping) {
        struct err ignored; /* the next look tries again */
        struct timespec until;
        pthread_mutex_unlock(&k->lock);
        keeper_look(k->catalog, clock_unix(), &ignored);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_SECONDS;
        pthread_mutex_lock(&k->lock);
        if (!k->stopping) pthread_cond_timedwait(&k->stop, &k->lock, &until);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void keeper_free(struct keeper *k) {
    pthread_cond_destroy(&k->stop);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
}

int keeper_start(struct catalog *c, struct keeper **ret, struct err *err) {
    struct keeper *k = mem_zalloc(1, sizeof *k);
    k->catalog = c;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->stop, NULL);
    if (pthread_create(&k->thread, NULL, keep, k) != 0) {
        keeper_free(k);
        return err_set(err, ERR_INTERNAL, "no thread for what expires");
    }
    *ret = k;
    return 0;
}

void keeper_stop(struct keeper *k) {
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->stop);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    keeper_free(k);
}

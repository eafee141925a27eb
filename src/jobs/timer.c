#include "jobs/timer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "jobs/retrain.h"

#include <pthread.h>
#include <time.h>

#define LOOK_SECONDS 20
#define NICE 10

struct timer {
    struct catalog *c;
    struct timer_options o;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the waiting */
    pthread_cond_t wake;
    atomic_int stop;
};

static void wait_a_while(struct timer *t) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOOK_SECONDS;
    pthread_mutex_lock(&t->lock);
    if (!atomic_load(&t->stop)) pthread_cond_timedwait(&t->wake, &t->lock, &until);
    pthread_mutex_unlock(&t->lock);
}

static void *look(void *arg) {
    struct timer *t = arg;
    struct retrain_options o = {
        .program = t->o.program, .nice = t->o.nice ? t->o.nice : NICE, .stop = &t->stop};
    while (!atomic_load(&t->stop)) {
        struct err err;
        int done;
        if (retrain_work(t->c, &o, clock_unix(), &done, &err) && t->o.log)
            t->o.log(t->o.ctx, err.msg);
        wait_a_while(t);
    }
    return NULL;
}

static void timer_free(struct timer *t) {
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

int timer_start(struct catalog *c, const struct timer_options *o, struct timer **ret,
                struct err *err) {
    struct timer *t = mem_zalloc(1, sizeof *t);
    t->c = c;
    t->o = *o;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    if (pthread_create(&t->thread, NULL, look, t) != 0) {
        timer_free(t);
        return err_set(err, ERR_INTERNAL, "no thread for schedules");
    }
    *ret = t;
    return 0;
}

void timer_stop(struct timer *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop, 1);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    timer_free(t);
}

#include "train/plot.h"

#include <math.h>

#define WIDTH 800.0
#define HEIGHT 440.0
#define LEFT 64.0
#define RIGHT 24.0
#define TOP 48.0
#define BOTTOM 56.0
#define POINTS_MAX 1500 /* more are thinned: a screen has no more columns */
#define LOG_FROM 20.0   /* largest over smallest loss from which the axis is logarithmic */

struct axes {
    double x_max, y_min, y_max; /* y as drawn: the logarithm when `log` */
    bool log;
};

static double drawn(const struct axes *a, double loss) { return a->log ? log10(loss) : loss; }

static double px(const struct axes *a, double x) {
    return LEFT + x / a->x_max * (WIDTH - LEFT - RIGHT);
}

static double py(const struct axes *a, double loss) {
    double share = (drawn(a, loss) - a->y_min) / (a->y_max - a->y_min);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void widen(const struct plot_point *list, int64_t count, double *low, double *high,
                  double *x) {
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(list[i].y)) continue;
        *low = fmin(*low, list[i].y);
        *high = fmax(*high, list[i].y);
        *x = fmax(*x, list[i].x);
    }
}

/* 1, 2 or 5 times a power of ten, so that about `count` steps cover the range */
static double nice_step(double range, double count) {
    double raw = range / count, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static void choose_axes(const struct plot *p, struct axes *a) {
    double low = INFINITY, high = 0, x = 1;
    widen(p->steps, p->step_count, &low, &high, &x);
    widen(p->valid, p->valid_count, &low, &high, &x);
    if (!isfinite(low)) low = 0, high = 1;
    a->x_max = x;
    a->log = low > 0 && high / low >= LOG_FROM;
    if (a->log) {
        a->y_min = floor(log10(low));
        a->y_max = ceil(log10(high));
    } else {
        double step = nice_step(high > 0 ? high : 1, 6);
        a->y_min = 0;
        a->y_max = ceil(high / step + 1e-9) * step;
    }
    if (a->y_max <= a->y_min) a->y_max = a->y_min + 1;
}

static void y_tick(const struct axes *a, double loss, struct buf *out) {
    double y = py(a, loss);
    buf_printf(out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
               LEFT, y, WIDTH - RIGHT, y);
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT - 8,
               y + 4, loss);
}

static void draw_axes(const struct axes *a, struct buf *out) {
    if (a->log)
        for (double e = a->y_min; e <= a->y_max + 1e-9; e++) y_tick(a, pow(10, e), out);
    else
        for (double step = nice_step(a->y_max, 6), y = 0; y <= a->y_max + step / 2; y += step)
            y_tick(a, y, out);
    double step = fmax(1, nice_step(a->x_max, 8));
    for (double x = 0; x <= a->x_max + 1e-9; x += step)
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f</text>\n",
                   px(a, x), HEIGHT - BOTTOM + 18, x);
    buf_printf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
               LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">step</text>\n",
               (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16);
}

static void draw_line(const struct axes *a, const struct plot_point *list, int64_t count,
                      const char *class, double keep, struct buf *out) {
    int64_t every = (count + POINTS_MAX - 1) / POINTS_MAX;
    double mean = NAN;
    if (!count) return;
    buf_printf(out, "<polyline class=\"%s\" points=\"", class);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(list[i].y)) continue;
        mean = isnan(mean) ? list[i].y : keep * mean + (1 - keep) * list[i].y;
        if (i % every == 0 || i + 1 == count)
            buf_printf(out, "%.1f,%.1f ", px(a, list[i].x), py(a, mean));
    }
    buf_z(out, "\"/>\n");
}

static void draw_valid(const struct axes *a, const struct plot *p, struct buf *out) {
    draw_line(a, p->valid, p->valid_count, "valid", 0, out);
    for (int64_t i = 0; i < p->valid_count; i++) {
        bool best = p->best_step && (int64_t)p->valid[i].x == p->best_step;
        if (isfinite(p->valid[i].y))
            buf_printf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>\n",
                       best ? "best" : "dot", px(a, p->valid[i].x), py(a, p->valid[i].y),
                       best ? 6 : 3);
    }
}

static void legend(const struct plot *p, struct buf *out) {
    static const char *const entry =
        "<line class=\"%s\" x1=\"%.1f\" y1=\"30\" x2=\"%.1f\" y2=\"30\"/>"
        "<text x=\"%.1f\" y=\"34\">%s</text>\n";
    double x = WIDTH - RIGHT - (p->valid_count ? 230 : 110);
    buf_printf(out, entry, "mean", x, x + 22, x + 28, "training loss");
    if (p->valid_count) buf_printf(out, entry, "valid", x + 122, x + 144, x + 150, "held-out loss");
}

static void title(const char *text, struct buf *out) {
    buf_printf(out, "<text class=\"title\" x=\"%.1f\" y=\"34\">", LEFT);
    for (const char *c = text; *c; c++) {
        if (*c == '<')
            buf_z(out, "&lt;");
        else if (*c == '&')
            buf_z(out, "&amp;");
        else
            buf_byte(out, *c);
    }
    buf_z(out, "</text>\n");
}

void plot_svg(const struct plot *p, struct buf *out) {
    struct axes a;
    choose_axes(p, &a);
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
               "height=\"%.0f\">\n",
               WIDTH, HEIGHT, WIDTH, HEIGHT);
    buf_z(out, "<style>text{font:12px "
               "sans-serif;fill:#444}.title{font-size:15px;font-weight:bold;fill:#222}"
               ".grid{stroke:#e4e4e4}.axis{stroke:#888}polyline{fill:none}"
               ".raw{stroke:#9dbbe3;stroke-width:1}.mean{stroke:#2b6cb0;stroke-width:2}"
               ".valid{stroke:#c05621;stroke-width:2}.dot{fill:#c05621}"
               ".best{fill:#fff;stroke:#c05621;stroke-width:2}</style>\n"
               "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    title(p->title, out);
    legend(p, out);
    draw_axes(&a, out);
    draw_line(&a, p->steps, p->step_count, "raw", 0, out);
    draw_line(&a, p->steps, p->step_count, "mean", p->step_count > 20 ? 0.9 : 0, out);
    draw_valid(&a, p, out);
    buf_z(out, "</svg>\n");
}

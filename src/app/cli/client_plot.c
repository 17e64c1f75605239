#include "app/cli/client_plot.h"

enum { WIDTH = 800, HEIGHT = 400, LEFT = 90, RIGHT = 70, TOP = 50, BOTTOM = 50, GRID = 5 };

static const char rate_color[] = "#1f6feb", cpu_color[] = "#d1242f";

void client_plot_escape(FILE *to, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '&':
            fputs("&amp;", to);
            break;
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        case '\'':
            fputs("&#39;", to);
            break;
        default:
            fputc(*c >= ' ' && *c < 127 ? *c : '?', to);
            break;
        }
    }
}

double client_plot_ceiling(double most)
{
    static const double steps[] = {1, 2, 5};
    double decade = 1;
    for (int power = 0; power < 300; power++) {
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            if (steps[i] * decade >= most) {
                return steps[i] * decade;
            }
        }
        decade *= 10;
    }
    return decade;
}

struct axes {
    double seconds, rate, percent; /* their ends */
};

static double x_of(const struct axes *a, double second)
{
    return LEFT + second / a->seconds * (WIDTH - LEFT - RIGHT);
}

static double y_of(double part)
{
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

static void write_text(FILE *to, double x, double y, const char *anchor, const char *color,
                       const char *text)
{
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">", x, y, anchor, color);
    client_plot_escape(to, text);
    fputs("</text>\n", to);
}

static void write_number(FILE *to, double x, double y, const char *anchor, const char *color,
                         double number, const char *behind)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "%.10g%s", number, behind);
    write_text(to, x, y, anchor, color, text);
}

static void write_grid(FILE *to, const struct client_plot *p, const struct axes *a)
{
    for (int i = 0; i <= GRID; i++) {
        double part = (double)i / GRID, y = y_of(part), x = x_of(a, a->seconds * part);
        fprintf(to,
                "<path d=\"M%d %.1fH%d\" stroke=\"#d0d7de\"/>\n"
                "<path d=\"M%.1f %dV%d\" stroke=\"#d0d7de\"/>\n",
                LEFT, y, WIDTH - RIGHT, x, TOP, HEIGHT - BOTTOM);
        write_number(to, LEFT - 8, y + 4, "end", rate_color, a->rate * part, "");
        write_number(to, x, HEIGHT - BOTTOM + 18, "middle", "#57606a", a->seconds * part, "");
        if (p->has_cpu) {
            write_number(to, WIDTH - RIGHT + 8, y + 4, "start", cpu_color, a->percent * part, " %");
        }
    }
}

static void write_line(FILE *to, const struct client_plot *p, const struct axes *a, bool is_cpu)
{
    fprintf(to,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" "
            "stroke-linejoin=\"round\" points=\"",
            is_cpu ? cpu_color : rate_color, is_cpu ? "1.5" : "2");
    for (size_t i = 0; i < p->n_points; i++) {
        const struct client_plot_point *at = &p->points[i];
        fprintf(to, "%s%.1f,%.1f", i > 0 ? " " : "", x_of(a, at->second),
                y_of(is_cpu ? at->percent / a->percent : at->rate / a->rate));
    }
    fputs("\"/>\n", to);
}

void client_plot_write(FILE *to, const struct client_plot *p)
{
    struct axes a = {0};
    for (size_t i = 0; i < p->n_points; i++) {
        const struct client_plot_point *at = &p->points[i];
        a.seconds = at->second > a.seconds ? at->second : a.seconds;
        a.rate = at->rate > a.rate ? at->rate : a.rate;
        a.percent = at->percent > a.percent ? at->percent : a.percent;
    }
    a = (struct axes){client_plot_ceiling(a.seconds), client_plot_ceiling(a.rate),
                      client_plot_ceiling(a.percent)};
    fprintf(to,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_text(to, LEFT, 20, "start", "#1f2328", p->title);
    write_grid(to, p, &a);
    fprintf(to, "<text x=\"%d\" y=\"%d\" fill=\"%s\">", LEFT, 40, rate_color);
    client_plot_escape(to, p->unit);
    fputs(" a second</text>\n", to);
    write_text(to, (WIDTH + LEFT - RIGHT) / 2.0, HEIGHT - 12, "middle", "#57606a", "seconds");
    if (p->has_cpu) {
        write_text(to, WIDTH - RIGHT, 40, "end", cpu_color, "CPU of the server, of one core");
        write_line(to, p, &a, true);
    }
    write_line(to, p, &a, false);
    fputs("</svg>\n", to);
}

/* cli/line_edit.c - a small editor of one line.
 *
 * Bytes of a UTF-8 character move together; the line is redrawn whole after each key and scrolls sideways when it is
 * wider than the terminal. The terminal is in raw mode only while a line is read. */
#include "cli/line_edit.h"

#include "base/memory.h"
#include "base/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { HISTORY = 100, LONGEST = 1 << 16 };

struct line_editor {
    char *past[HISTORY];
    int count;
    char *line; /* being edited */
    size_t size, at, capacity;
    int shown;   /* number of the past line on display; count: the new one */
    char *saved; /* the new line while a past one is on display */
};

pith_status line_editor_new(line_editor **e, pith_error *err) {
    *e = memory_zero(1, sizeof **e);
    return *e ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

void line_editor_free(line_editor *e) {
    if (!e) return;
    for (int i = 0; i < e->count; i++) memory_free(e->past[i]);
    memory_free(e->line);
    memory_free(e->saved);
    memory_free(e);
}

static bool inner_byte(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

static size_t before(const line_editor *e, size_t at) {
    if (at == 0) return 0;
    do at--;
    while (at > 0 && inner_byte(e->line[at]));
    return at;
}

static size_t after(const line_editor *e, size_t at) {
    if (at < e->size) at++;
    while (at < e->size && inner_byte(e->line[at])) at++;
    return at;
}

static void erase(line_editor *e, size_t from, size_t to) {
    memmove(e->line + from, e->line + to, e->size - to);
    e->size -= to - from;
    e->at = from;
}

static bool insert(line_editor *e, const char *bytes, size_t n) {
    if (e->size + n > LONGEST || memory_reserve((void **)&e->line, &e->capacity, e->size + n + 1, 1)) return false;
    memmove(e->line + e->at + n, e->line + e->at, e->size - e->at);
    memcpy(e->line + e->at, bytes, n);
    e->size += n, e->at += n;
    return true;
}

static size_t columns_of(const char *text, size_t n) {
    size_t columns = 0;
    for (size_t i = 0; i < n; i++) columns += !inner_byte(text[i]);
    return columns;
}

static void redraw(const line_editor *e, const char *prompt) {
    struct winsize w;
    size_t width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10 ? w.ws_col : 80,
           room = width - strlen(prompt) - 1, first = 0, last = e->size;
    while (columns_of(e->line + first, e->at - first) > room) first = after(e, first);
    while (columns_of(e->line + first, last - first) > room) last = before(e, last);
    printf("\r\033[K%s%.*s\r\033[%zuC", prompt, (int)(last - first), e->line + first,
           strlen(prompt) + columns_of(e->line + first, e->at - first));
    fflush(stdout);
}

static void replace(line_editor *e, const char *text) {
    e->size = e->at = 0;
    if (text) insert(e, text, strlen(text));
}

static void show_past(line_editor *e, int direction) {
    int wanted = e->shown + direction;
    if (wanted < 0 || wanted > e->count) return;
    if (e->shown == e->count) {
        memory_free(e->saved);
        e->saved = memory_text_n(e->line ? e->line : "", e->size);
    }
    e->shown = wanted;
    replace(e, wanted == e->count ? e->saved : e->past[wanted]);
}

static void remember(line_editor *e) {
    if (e->size == 0) return;
    char *copy = memory_text_n(e->line, e->size);
    if (!copy) return; /* history is a comfort */
    if (e->count == HISTORY) {
        memory_free(e->past[0]);
        memmove(e->past, e->past + 1, (HISTORY - 1) * sizeof *e->past);
        e->count--;
    }
    e->past[e->count++] = copy;
}

static void escape(line_editor *e) {
    char c[3] = {0};
    if (read(STDIN_FILENO, c, 1) != 1 || (c[0] != '[' && c[0] != 'O') || read(STDIN_FILENO, c + 1, 1) != 1) return;
    bool tilde = c[1] >= '0' && c[1] <= '9' && read(STDIN_FILENO, c + 2, 1) == 1;
    switch (c[1]) {
    case 'A': show_past(e, -1); break;
    case 'B': show_past(e, 1); break;
    case 'C': e->at = after(e, e->at); break;
    case 'D': e->at = before(e, e->at); break;
    case 'H': e->at = 0; break;
    case 'F': e->at = e->size; break;
    case '1':
    case '7': e->at = tilde ? 0 : e->at; break;
    case '4':
    case '8': e->at = tilde ? e->size : e->at; break;
    case '3':
        if (tilde) erase(e, e->at, after(e, e->at));
        break;
    default: break;
    }
}

static size_t word_start(const line_editor *e) {
    size_t at = e->at;
    while (at > 0 && e->line[at - 1] == ' ') at--;
    while (at > 0 && e->line[at - 1] != ' ') at--;
    return at;
}

enum outcome { GOES_ON, DONE, AT_END, STOPPED };

static enum outcome take_key(line_editor *e, char key) {
    switch (key) {
    case '\r':
    case '\n': return DONE;
    case 3: /* Ctrl-C */
        if (e->size == 0) return STOPPED;
        replace(e, NULL);
        break;
    case 4: /* Ctrl-D */
        if (e->size == 0) return AT_END;
        erase(e, e->at, after(e, e->at));
        break;
    case 1: e->at = 0; break;                /* Ctrl-A */
    case 5: e->at = e->size; break;          /* Ctrl-E */
    case 2: e->at = before(e, e->at); break; /* Ctrl-B */
    case 6: e->at = after(e, e->at); break;  /* Ctrl-F */
    case 8:
    case 127: erase(e, before(e, e->at), e->at); break;
    case 11: e->size = e->at; break;                /* Ctrl-K */
    case 21: erase(e, 0, e->at); break;             /* Ctrl-U */
    case 23: erase(e, word_start(e), e->at); break; /* Ctrl-W */
    case 14: show_past(e, 1); break;                /* Ctrl-N */
    case 16: show_past(e, -1); break;               /* Ctrl-P */
    case 27: escape(e); break;
    default:
        if ((unsigned char)key >= 32 || key == '\t') insert(e, key == '\t' ? " " : &key, 1);
    }
    return GOES_ON;
}

static enum outcome edit(line_editor *e, const char *prompt) {
    enum outcome o = GOES_ON;
    redraw(e, prompt);
    while (o == GOES_ON) {
        char key;
        ssize_t n = read(STDIN_FILENO, &key, 1);
        if (n < 0 && errno == EINTR && !interrupt_requested()) continue;
        if (n <= 0) return n == 0 ? AT_END : STOPPED;
        o = take_key(e, key);
        if (e->size == 0 || !inner_byte(key)) redraw(e, prompt);
    }
    redraw(e, prompt);
    printf("\r\n");
    fflush(stdout);
    return o;
}

static pith_status read_terminal(line_editor *e, const char *prompt, char **line, pith_error *err) {
    struct termios was, raw;
    if (tcgetattr(STDIN_FILENO, &was) != 0) return pith_fail_errno(err, "terminal", errno, "cannot read its settings");
    raw = was;
    raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1, raw.c_cc[VTIME] = 0;
    if (!insert(e, "", 0)) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    replace(e, NULL);
    e->shown = e->count;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    enum outcome o = edit(e, prompt);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &was);
    if (o == STOPPED) return pith_fail(err, PITH_INTERRUPTED, NULL, -1, "interrupted");
    if (o == AT_END) return PITH_OK;
    remember(e);
    *line = memory_text_n(e->line, e->size);
    return *line ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

static pith_status read_plain(line_editor *e, char **line, pith_error *err) {
    int c;
    e->size = e->at = 0;
    while ((c = getchar()) != EOF && c != '\n') {
        char byte = (char)c;
        if (!insert(e, &byte, 1))
            return pith_fail(err, PITH_LIMIT, "standard input", -1, "expected lines of at most %d bytes", LONGEST);
    }
    if (interrupt_requested()) return pith_fail(err, PITH_INTERRUPTED, NULL, -1, "interrupted");
    if (c == EOF && ferror(stdin)) return pith_fail_errno(err, "standard input", errno, "cannot read");
    if (c == EOF && e->size == 0) return PITH_OK;
    *line = memory_text_n(e->line ? e->line : "", e->size);
    return *line ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status line_editor_read(line_editor *e, const char *prompt, char **line, pith_error *err) {
    *line = NULL;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) return read_terminal(e, prompt, line, err);
    return read_plain(e, line, err);
}

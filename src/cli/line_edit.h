/* cli/line_edit.h - reading a line at a terminal: arrows, history, Home, End, kill and yank of the usual keys. On
 * anything but a terminal it reads plain lines. */
#ifndef CLI_LINE_EDIT_H
#define CLI_LINE_EDIT_H

#include "pith/status.h"

typedef struct line_editor line_editor;

pith_status line_editor_new(line_editor **e, pith_error *err);
void line_editor_free(line_editor *e); /* safe on NULL */
/* The next line without its end, freed by the caller with memory_free; NULL at the end of input. PITH_INTERRUPTED after
 * Ctrl-C on an empty line or SIGINT. */
pith_status line_editor_read(line_editor *e, const char *prompt, char **line, pith_error *err);

#endif

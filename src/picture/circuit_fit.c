/* picture/circuit_fit.c - bisection for the precision at which a model just fits its budget. */
#include "picture/circuit_fit.h"

#include "base/memory.h"

#include <math.h>

/* The unit of code/circuit_write.c in pictures: at FREE, digits cost 0.002 bit a value more than with floats; a model
 * of units beyond COARSEST is not worth its name. */
static const double free_unit = 0.25, finest_unit = 0.01, coarsest_unit = 1000;
enum { HALVINGS = 9 };

pith_status circuit_fit(const circuit_tree *tree, const circuit_parameters *p, int64_t pictures, uint64_t budget,
                        pith_bytes *out, pith_error *err) {
    const circuit_tables tables = circuit_parameters_tables(p, tree);
    const double share = 1 / (double)pictures;
    if (budget == 0) return circuit_write(&tables, free_unit * share, out, err);
    double fine = log(finest_unit), coarse = log(coarsest_unit);
    pith_bytes best = {0}, next;
    pith_status s = circuit_write(&tables, coarsest_unit * share, &best, err);
    if (!s && best.size > budget)
        s = pith_fail(err, PITH_LIMIT, NULL, -1, "expected a model of at most %llu bytes, found %zu at the coarsest",
                      (unsigned long long)budget, best.size);
    for (int i = 0; i < HALVINGS && !s; i++) {
        double middle = (fine + coarse) / 2;
        s = circuit_write(&tables, exp(middle) * share, &next, err);
        if (s) break;
        const bool fits = next.size <= budget;
        memory_free(fits ? best.data : next.data);
        if (fits) best = next, coarse = middle;
        else fine = middle;
    }
    if (s) memory_free(best.data);
    else *out = best;
    return s;
}

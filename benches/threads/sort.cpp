// The best sort that comes with GCC: the standard library's own on one thread, its parallel mode
// on several. C's qsort, which calls a function for each comparison, takes more than twice as long.

#include <algorithm>
#include <omp.h>
#include <parallel/algorithm>

extern "C" void sort_doubles(double *first, double *last) {
    if (omp_get_max_threads() == 1)
        std::sort(first, last);
    else
        __gnu_parallel::sort(first, last);
}

/* The rows in C with OpenMP: `rows ROW N TIMES` prints the shortest time in seconds and a check of
 * the result. OMP_NUM_THREADS says how many threads. As in rows.rs, memory is allocated and written
 * once before the clock starts. */

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sort_doubles(double *first, double *last); /* sort.cpp */

/* The slow series: the sum of 1/k over all k up to n without a 9 among their digits. */

static bool allowed(uint64_t k) {
    do { /* A fifth faster than with the test before the loop. */
        if (k % 10 == 9)
            return false;
        k /= 10;
    } while (k > 0);
    return true;
}

static double series(uint64_t n) {
    double sum = 0;
#pragma omp parallel for schedule(dynamic, 100000) reduction(+ : sum)
    for (uint64_t k = 1; k <= n; k++)
        if (allowed(k))
            sum += 1.0 / (double)k;
    return sum;
}

/* The Julia set of z*z + c. */

static uint8_t escape(double x, double y) {
    uint8_t count = 0;
    while (count < 255 && x * x + y * y <= 16.0) {
        double next = x * x - y * y + 0.355;
        y = 2.0 * x * y + 0.355;
        x = next;
        count++;
    }
    return count;
}

static void julia(uint8_t *image, size_t n) {
#pragma omp parallel for schedule(dynamic)
    for (size_t row = 0; row < n; row++) {
        double y = 1.2 * (2.0 * (double)row / (double)n - 1.0);
        for (size_t column = 0; column < n; column++)
            image[row * n + column] = escape(1.2 * (2.0 * (double)column / (double)n - 1.0), y);
    }
}

static void logarithms(double *values, size_t n) {
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        values[i] = log10((double)(i + 1));
}

static double sum(const double *values, size_t n) {
    double total = 0;
#pragma omp parallel for simd reduction(+ : total)
    for (size_t i = 0; i < n; i++)
        total += values[i];
    return total;
}

/* The i-th random number in [0, 1): splitmix64. */
static double random_number(uint64_t i) {
    uint64_t z = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* A sum in which each place has another weight. */
static double weighed(const double *values, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += values[i] * (double)(i % 1000);
    return total;
}

static double weighed_bytes(const uint8_t *values, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)values[i] * (double)(i % 1000);
    return total;
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 1, bytes);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: rows ROW N TIMES\n");
        return 2;
    }
    const char *row = argv[1];
    const size_t n = strtoull(argv[2], NULL, 10);
    const bool is_series = strcmp(row, "series") == 0, is_julia = strcmp(row, "julia") == 0,
               is_sort = strcmp(row, "sort") == 0, is_log10 = strcmp(row, "log10") == 0,
               is_sum = strcmp(row, "sum") == 0;
    if (!is_series && !is_julia && !is_sort && !is_log10 && !is_sum) {
        fprintf(stderr, "no row is called %s\n", row);
        return 2;
    }
    uint8_t *image = is_julia ? allocate(n * n) : NULL;
    double *values = is_series || is_julia ? NULL : allocate(n * sizeof *values);
    for (size_t i = 0; is_sum && i < n; i++)
        values[i] = 0.5 * (double)(i % 1000);
#pragma omp parallel
    { /* The threads start before the clock does. */
    }
    double best = INFINITY, check = 0;
    for (long times = strtol(argv[3], NULL, 10); times > 0; times--) {
        for (size_t i = 0; is_sort && i < n; i++)
            values[i] = random_number(i);
        double begin = omp_get_wtime();
        if (is_series)
            check = series(n);
        else if (is_julia)
            julia(image, n);
        else if (is_sort)
            sort_doubles(values, values + n);
        else if (is_log10)
            logarithms(values, n);
        else
            check = sum(values, n);
        best = fmin(best, omp_get_wtime() - begin);
    }
    if (is_julia)
        check = weighed_bytes(image, n * n);
    if (is_sort || is_log10)
        check = weighed(values, n);
    printf("%.9f %.17g\n", best, check);
    return 0;
}

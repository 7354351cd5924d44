#include "services/gateway/decimal.h"

/* Larger than any number of digits that a text has: beyond it the exponents alone decide. */
#define EXPONENT_MAX (INT64_C(1) << 60)

/* 0.DIGITS * 10^exponent, its first digit not 0. */
struct decimal {
    bool is_negative;
    struct ria_slice digits; /* may have a point among them; empty: the number is 0 */
    int64_t exponent;
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* "+12", "-3" */
static int64_t exponent_of(struct ria_slice text)
{
    bool is_negative = text.size > 0 && text.data[0] == '-';
    int64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (is_digit(text.data[i]) && value < EXPONENT_MAX / 16) {
            value = value * 10 + (text.data[i] - '0');
        }
    }
    return is_negative ? -value : value;
}

static struct decimal decimal_of(struct ria_slice text)
{
    struct decimal decimal = {.is_negative = text.size > 0 && text.data[0] == '-'};
    size_t first = SIZE_MAX; /* digit that is not 0 */
    size_t end = decimal.is_negative;
    bool is_whole = true;

    for (; end < text.size && (is_digit(text.data[end]) || text.data[end] == '.'); end++) {
        if (text.data[end] == '.') {
            is_whole = false;
        } else if (first == SIZE_MAX && text.data[end] != '0') {
            first = end;
            decimal.exponent += is_whole;
        } else if (first == SIZE_MAX) {
            decimal.exponent -= !is_whole;
        } else {
            decimal.exponent += is_whole;
        }
    }
    if (first != SIZE_MAX) {
        decimal.digits = ria_slice_sub(text, first, end - first);
        decimal.exponent += exponent_of(ria_slice_sub(text, end + 1, text.size));
    }
    return decimal;
}

/* The next digit, 0 behind the last one. */
static int next_digit(struct ria_slice *digits)
{
    if (digits->size > 0 && digits->data[0] == '.') {
        *digits = ria_slice_sub(*digits, 1, digits->size);
    }
    int digit = digits->size == 0 ? 0 : digits->data[0] - '0';
    *digits = ria_slice_sub(*digits, 1, digits->size);
    return digit;
}

/* Without their signs. */
static int compare_sizes(struct decimal left, struct decimal right)
{
    if (left.digits.size == 0 || right.digits.size == 0) {
        return (left.digits.size > 0) - (right.digits.size > 0);
    }
    if (left.exponent != right.exponent) {
        return left.exponent > right.exponent ? 1 : -1;
    }
    while (left.digits.size > 0 || right.digits.size > 0) {
        int order = next_digit(&left.digits) - next_digit(&right.digits);
        if (order != 0) {
            return order > 0 ? 1 : -1;
        }
    }
    return 0;
}

int decimal_compare(struct ria_slice left, struct ria_slice right)
{
    struct decimal a = decimal_of(left);
    struct decimal b = decimal_of(right);

    /* -0 is 0 */
    a.is_negative = a.is_negative && a.digits.size > 0;
    b.is_negative = b.is_negative && b.digits.size > 0;
    if (a.is_negative != b.is_negative) {
        return a.is_negative ? -1 : 1;
    }
    int order = compare_sizes(a, b);
    return a.is_negative ? -order : order;
}

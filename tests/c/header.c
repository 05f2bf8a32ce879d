/* The header alone is all that a program needs. */
#include <lgss.h>

int main(void)
{
    return lgss_version() ? 0 : 1;
}

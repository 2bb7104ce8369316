#include <stdio.h>

int main(void) {
    puts("built from Debian's packages, without apt, dpkg or a registry");
    return 0;
}

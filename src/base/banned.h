/* Force-included everywhere: calls that have a safe replacement here do not compile. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol atoll rand      \
    srand gmtime localtime alloca gets

#endif

/* Force-included everywhere: calls that have a safe replacement here do not compile. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol atoll
#pragma GCC poison gmtime localtime alloca gets

/* Library headers use these two as parameter names, so they are refused at the call instead. */
#define rand()      use_base_random_h
#define srand(seed) use_base_random_h

#endif

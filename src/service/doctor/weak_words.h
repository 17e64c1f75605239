/* weak_words - passwords that are tried first. */
#ifndef SERVICE_DOCTOR_WEAK_WORDS_H
#define SERVICE_DOCTOR_WEAK_WORDS_H

#include "base/slice.h"

/* is_weak_word - in the manual of some product, the name itself, or shorter than 8 bytes. */
bool is_weak_word(struct slice name, struct slice password);

/* is_weak_cipher - one of OpenSSL's or Erlang's names or words for them, of what is broken. "!RC4"
 * takes it out, and is not. */
bool is_weak_cipher(struct slice name);

#endif

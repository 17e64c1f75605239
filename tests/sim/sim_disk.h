/*
 * sim_disk - a directory of files in memory behind base/disk.h that behaves as a disk does on a bad
 * day: what was not synced is dropped or torn at a power cut, sector by sector, and operations fail
 * when they are told to.
 *
 * Each file has two states: the pages, which every reader sees, and what is safe. A sync makes the
 * pages safe. Names are durable when they are made, renamed or removed. Everything is drawn from
 * one random source, so a seed repeats.
 */
#ifndef SIM_SIM_DISK_H
#define SIM_SIM_DISK_H

#include "base/disk.h"
#include "base/random.h"

enum { SIM_SECTOR_BYTES = 512 };

/* How often operations fail, in thousandths; all zero is a good day. */
struct sim_disk_faults {
    unsigned write_io; /* part of it may be in the pages then */
    unsigned sync_io;  /* some of it may be safe then, and no later sync makes the rest so */
    unsigned read_io;
    unsigned space;    /* writes that make a file longer, and reserve */
    uint64_t capacity; /* bytes of all files together; 0: no end */
};

/* What is told of every write_at and append that was taken. */
struct sim_disk_watch {
    void *ctx;
    void (*wrote)(void *ctx, const char *name, uint64_t at, struct slice bytes);
};

/* sim_disk_new - an empty directory; NULL: no memory. Freed by its own ops. */
struct disk *sim_disk_new(struct random_source random);
void sim_disk_set_faults(struct disk *d, const struct sim_disk_faults *f);
void sim_disk_set_watch(struct disk *d, const struct sim_disk_watch *w);

/* sim_disk_stop - from now on every operation fails with ERR_IO, and open files stay unusable for
 * ever; they may still be closed. A process that is killed needs no more. */
void sim_disk_stop(struct disk *d);
/* sim_disk_cut - what was not safe is lost, kept or torn. After sim_disk_stop. */
void sim_disk_cut(struct disk *d);
/* sim_disk_start - the next process finds the files. Every file must have been closed. */
void sim_disk_start(struct disk *d);

/* sim_disk_flip - turns one bit of one file whose name begins like this; false: there is none. */
bool sim_disk_flip(struct disk *d, const char *prefix);
uint64_t sim_disk_syncs(const struct disk *d);

#endif

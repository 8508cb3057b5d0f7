/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the parts of darma_fault share: the shape of an act, the tables of acts, and the one source
 * of chance.
 *
 * Every act takes a number. For a storm it is how often or how long; for a fault it is the seed,
 * and the act draws everything that varies from fault_random(), so that the same seed does the
 * same thing to the same kernel.
 */
#ifndef DARMA_FAULT_H
#define DARMA_FAULT_H

#include <linux/types.h>

struct act {
	const char *word;		/* NULL ends a table */
	int (*run)(unsigned long number);
	bool counted;			/* needs a number when it is written without "provoke" */
};

extern const struct act death_acts[];
extern const struct act hang_acts[];
extern const struct act corruption_acts[];
extern const struct act processor_acts[];
extern const struct act device_acts[];
extern const struct act trespass_acts[];
extern const struct act storm_acts[];

/* Starts the sequence of fault_random() anew. */
void fault_seed(u64 seed);
/* The next number: splitmix64. */
u64 fault_random(void);
/* A number below limit; limit is not zero. */
u64 fault_below(u64 limit);

/* The address of a symbol that the kernel does not export; 0 if it has none. */
unsigned long fault_symbol(const char *name);
/* One more than the number of the last page of RAM; 0 if that is not to be had. */
unsigned long fault_pages(void);

/* Tells the nanokernel, if there is one, a point in time: the code of a mark. */
void fault_mark(u32 code);
/* Tells it that user space lives; the next one has to follow. */
void fault_beat(void);
#define MARK_CRASH_IMMINENT	5	/* nanokernel/abi/src/codes.rs */
#define MARK_PHASE_END		4

#endif

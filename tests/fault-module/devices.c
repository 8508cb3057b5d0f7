// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Devices: the nanokernel's own function (its doorbell and the memory that both sides map), and
 * one of the emulator's for teaching, `edu`, whose DMA engine and interrupt line do as they are
 * told: DMA to places that are nobody's, and an interrupt that is never taken back.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/pci.h>

#include "fault.h"

#define OURS		0x1af4, 0x1110	/* nanokernel/abi/src/shared/layout.rs */
#define OURS_DOORBELL	0
#define DOORBELL_MARK	0		/* nanokernel/abi/src/shared/doorbell.rs */
#define DOORBELL_HEARTBEAT	12
#define HEARTBEAT	0x54414542	/* "BEAT" */
#define OURS_MEMORY	2
#define EDU		0x1234, 0x11e8	/* QEMU docs/specs/edu */
#define EDU_RAISE	0x60
#define EDU_DMA_SOURCE	0x80
#define EDU_DMA_TARGET	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_OUT	3		/* start, from the device's buffer */
#define EDU_BUFFER	0x40000
#define EDU_BUFFER_SIZE	4095		/* of 4096: the device stops the emulator at the last byte */
#define EDU_DMA_TIME_MS	110		/* the device takes 100 */
#define DMA_TRANSFERS	8
#define SCRIBBLES	4096

static void __iomem *map(unsigned int vendor, unsigned int device, int bar, resource_size_t *size)
{
	struct pci_dev *function = pci_get_device(vendor, device, NULL);

	if (!function || pci_enable_device(function))
		return NULL;
	pci_set_master(function);
	*size = pci_resource_len(function, bar);
	return ioremap(pci_resource_start(function, bar), *size);
}

static void ring(unsigned int offset, u32 word)
{
	static void __iomem *doorbell;
	resource_size_t size;

	if (!doorbell)
		doorbell = map(OURS, OURS_DOORBELL, &size);
	if (doorbell)
		writel(word, doorbell + offset);
}

void fault_mark(u32 code)
{
	ring(DOORBELL_MARK, code);
}

void fault_beat(void)
{
	ring(DOORBELL_HEARTBEAT, HEARTBEAT);
}

static int shared_scribble(unsigned long unused)
{
	resource_size_t memory_size, bell_size, i;
	u8 __iomem *memory = map(OURS, OURS_MEMORY, &memory_size);
	u8 __iomem *bell = map(OURS, OURS_DOORBELL, &bell_size);

	if (!memory || !bell)
		return -ENODEV;
	for (i = 0; i < SCRIBBLES; i++) {
		writeq(fault_random(), memory + (fault_below(memory_size) & ~7ULL));
		/* Large numbers: small ones are words, and would be believed. */
		writel(fault_random() | 1U << 31, bell + (fault_below(bell_size) & ~3ULL));
	}
	return 0;
}

/*
 * Where a wrong address may lead that is not memory: behind the end of RAM, between the device
 * windows, and the firmware's read-only memory. Memory of the nanokernel is left out: without an
 * IOMMU nothing stops such a transfer, which is a stated limit and no question.
 */
static u64 nobodys_address(void)
{
	static const u64 windows[][2] = {
		{ 0x000c0000, 0x00030000 }, { 0x90000000, 0x10000000 },
		{ 0xc1000000, 0x20000000 }, { 0xfed40000, 0x00010000 },
		{ 0xffc00000, 0x003f0000 },
	};
	const u64 *window = windows[fault_below(ARRAY_SIZE(windows))];

	return window[0] + (fault_below(window[1]) & ~0xfULL);
}

static int dma_foreign(unsigned long unused)
{
	resource_size_t size;
	u8 __iomem *edu = map(EDU, 0, &size);
	unsigned int i;

	if (!edu)
		return -ENODEV;
	for (i = 0; i < DMA_TRANSFERS; i++) {
		writeq(EDU_BUFFER, edu + EDU_DMA_SOURCE);
		writeq(nobodys_address(), edu + EDU_DMA_TARGET);
		writeq(1 + fault_below(EDU_BUFFER_SIZE), edu + EDU_DMA_COUNT);
		writeq(EDU_DMA_OUT, edu + EDU_DMA_COMMAND);
		msleep(EDU_DMA_TIME_MS);
	}
	return 0;
}

/* DMA over Linux's own memory, anywhere in it: the partition holds, Linux does not. */
static int dma_own(unsigned long unused)
{
	unsigned long pages = fault_pages(), at;
	resource_size_t size;
	u8 __iomem *edu = map(EDU, 0, &size);
	unsigned int i;

	if (!edu || !pages)
		return -ENODEV;
	for (i = 0; i < DMA_TRANSFERS; ) {
		at = fault_below(pages);
		if (!pfn_valid(at) || PageReserved(pfn_to_page(at)))
			continue;
		writeq(EDU_BUFFER, edu + EDU_DMA_SOURCE);
		writeq((u64)at << PAGE_SHIFT, edu + EDU_DMA_TARGET);
		writeq(EDU_BUFFER_SIZE, edu + EDU_DMA_COUNT);
		writeq(EDU_DMA_OUT, edu + EDU_DMA_COMMAND);
		msleep(EDU_DMA_TIME_MS);
		i++;
	}
	return 0;
}

/* Says that the interrupt was served, and leaves the line up. */
static irqreturn_t never_enough(int irq, void *unused)
{
	return IRQ_HANDLED;
}

static int pin_held(unsigned long unused)
{
	struct pci_dev *function = pci_get_device(EDU, NULL);
	resource_size_t size;
	u8 __iomem *edu = map(EDU, 0, &size);
	int error;

	if (!edu)
		return -ENODEV;
	error = request_irq(function->irq, never_enough, IRQF_SHARED, "darma_fault", function);
	if (!error)
		writel(1, edu + EDU_RAISE);
	return error;
}

const struct act device_acts[] = {
	{ "shared-scribble", shared_scribble, true },
	{ "dma-foreign", dma_foreign, true },
	{ "dma-own", dma_own, true },
	{ "pin-held", pin_held, true },
	{ }
};

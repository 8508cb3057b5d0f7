// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Trespass: memory that is not this kernel's, and rings by which a device is told what to do.
 */
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/virtio.h>

#include "fault.h"

#define ATTEMPTS	64
#define MACHINE_BYTES	0x28000000UL	/* where the campaign's machine has memory of some owner */
#define VIRTIO_VENDOR	0x1af4
#define VIRTIO_BLK	0x1001		/* as QEMU shows it on this bus */
#define RING_WRITES	256

/* Reads and writes anywhere in the machine's memory that is not this kernel's. */
static int foreign_memory(unsigned long unused)
{
	unsigned int i;

	for (i = 0; i < ATTEMPTS; ) {
		unsigned long at = fault_below(MACHINE_BYTES) & ~7UL;
		void __iomem *page;

		if (page_is_ram(at >> PAGE_SHIFT))
			continue;
		i++;
		page = ioremap(at & PAGE_MASK, PAGE_SIZE);
		if (!page)
			continue;
		if (fault_below(2))
			readq(page + (at & ~PAGE_MASK));
		else
			writeq(fault_random(), page + (at & ~PAGE_MASK));
		iounmap(page);
	}
	return 0;
}

/*
 * Garbage in the rings of the disk: descriptors, what is offered, what is said to be used. The
 * functions that know where they lie belong to a module that only this act needs, hence by name.
 */
static int ring_scribble(unsigned long unused)
{
	static const char *const places[] = {
		"virtqueue_get_desc_addr", "virtqueue_get_avail_addr", "virtqueue_get_used_addr",
	};
	struct pci_dev *function = pci_get_device(VIRTIO_VENDOR, VIRTIO_BLK, NULL);
	/* What the driver keeps of the function begins with the device. */
	struct virtio_device *device = function ? pci_get_drvdata(function) : NULL;
	struct virtqueue *queue;
	unsigned int i;

	if (!device)
		return -ENODEV;
	list_for_each_entry(queue, &device->vqs, list) {
		for (i = 0; i < RING_WRITES; i++) {
			dma_addr_t (*place)(struct virtqueue *queue) =
				(void *)fault_symbol(places[fault_below(ARRAY_SIZE(places))]);
			u16 *ring;

			if (!place)
				return -ENOENT;
			ring = phys_to_virt(place(queue));
			ring[fault_below(PAGE_SIZE / 4)] = fault_random();
		}
	}
	return 0;
}

const struct act trespass_acts[] = {
	{ "foreign-memory", foreign_memory, true },
	{ "ring-scribble", ring_scribble, true },
	{ }
};

// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/pvsched: the host area, mapped read-only into programs of the guest, as
 * pvsched/placement.h describes it.
 *
 * Programs see the area itself, no copy. Areas come and go under them: whenever
 * that happens the page tables lose the pages, and a later access finds what is
 * there then, the area or a blank page. So no access ever fails, and no page is
 * mapped that is no longer ours. An open file keeps the module.
 *
 * map_lock is the innermost lock: it is taken in page faults.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/slab.h>

#include "compat.h"
#include "pvsched.h"
#include "pvsched/placement.h"

#define MAP_PAGES (PVSCHED_MAP_SIZE >> PAGE_SHIFT)

/* An open file: its address space is the inode's, and there may be several. */
struct opened {
	struct list_head list;
	struct file *file;
};

static DEFINE_MUTEX(map_lock);
static LIST_HEAD(all_opened);
static struct pvsched_map *map; /* the first page of all mappings */
static void *blank;		/* in the place of areas that are not there */
static unsigned long area_pfn;	/* of the host area, 0: there is none */
static unsigned long area_pages;
static bool area_is_bar; /* and mapped write-back against the MTRRs' advice */

/* Called with map_lock: the next access to the area's place faults again. */
static void zap(void)
{
	struct opened *o;

	list_for_each_entry(o, &all_opened, list)
		unmap_mapping_range(o->file->f_mapping, PAGE_SIZE, 0, 1);
}

/* Areas are there: programs see them. Called with pvs_lock. */
void pvs_map_show(const struct pvs_device *pvs)
{
	u64 at = pvs->host_area;
	unsigned long pfn;

	if (pvs->pages)
		at += virt_to_phys(pvs->pages);
	else
		at += pci_resource_start(pvs->pdev, PVSCHED_BAR_AREAS);
	pfn = PHYS_PFN(at);
	mutex_lock(&map_lock);
	if (pfn != area_pfn) {
		area_pfn = pfn;
		area_pages = (pvs->areas_size - pvs->host_area) >> PAGE_SHIFT;
		area_is_bar = pvs->bar_is_vmap;
		zap();
	}
	mutex_unlock(&map_lock);
}

/* When this returns no program sees the areas. */
void pvs_map_hide(void)
{
	mutex_lock(&map_lock);
	if (area_pfn) {
		area_pfn = 0;
		zap();
	}
	mutex_unlock(&map_lock);
}

/* From any context; `slot` may be PVSCHED_NO_CPU. */
void pvs_map_slot(unsigned int cpu, u32 slot)
{
	if (cpu < PVSCHED_MAP_CPUS)
		WRITE_ONCE(map->slot[cpu], slot < PVSCHED_MAX_SLOTS ?
						   slot :
						   PVSCHED_MAP_NO_SLOT);
}

struct area_pte {
	struct vm_area_struct *vma;
	unsigned long pfn;
};

static int set_area_pte(pte_t *pte, unsigned long addr, void *data)
{
	const struct area_pte *a = data;
	pgprot_t prot = pgprot_decrypted(a->vma->vm_page_prot);

	set_pte_at(a->vma->vm_mm, addr, pte,
		   pte_mkspecial(pfn_pte(a->pfn, prot)));
	return 0;
}

/*
 * BAR2 as the driver itself has it, see map_bar(): vmf_insert_pfn() would take
 * the memory type that the MTRRs suggest. i915 maps its apertures this way.
 */
static vm_fault_t insert_bar(struct vm_fault *vmf, unsigned long pfn)
{
	struct area_pte a = { .vma = vmf->vma, .pfn = pfn };

	return apply_to_page_range(vmf->vma->vm_mm, vmf->address, PAGE_SIZE,
				   set_area_pte, &a) ?
		       VM_FAULT_OOM :
		       VM_FAULT_NOPAGE;
}

static vm_fault_t map_fault(struct vm_fault *vmf)
{
	void *page = vmf->pgoff ? blank : map;
	vm_fault_t ret;

	mutex_lock(&map_lock);
	if (!vmf->pgoff || !area_pfn || vmf->pgoff > area_pages)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     PHYS_PFN(virt_to_phys(page)));
	else if (area_is_bar)
		ret = insert_bar(vmf, area_pfn + vmf->pgoff - 1);
	else
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     area_pfn + vmf->pgoff - 1);
	mutex_unlock(&map_lock);
	return ret;
}

static const struct vm_operations_struct map_vm_ops = {
	.fault = map_fault,
};

static int map_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	if (vma->vm_pgoff + vma_pages(vma) > MAP_PAGES)
		return -EINVAL;
	vm_flags_mod(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYWRITE | VM_MAYEXEC);
	vma->vm_ops = &map_vm_ops;
	return 0;
}

static int map_open(struct inode *inode, struct file *file)
{
	struct opened *o;

	if (file->f_mode & FMODE_WRITE)
		return -EPERM;
	o = kmalloc(sizeof(*o), GFP_KERNEL_ACCOUNT);
	if (!o)
		return -ENOMEM;
	o->file = file;
	file->private_data = o;
	mutex_lock(&map_lock);
	list_add(&o->list, &all_opened);
	mutex_unlock(&map_lock);
	return nonseekable_open(inode, file);
}

static int map_release(struct inode *inode, struct file *file)
{
	struct opened *o = file->private_data;

	mutex_lock(&map_lock);
	list_del(&o->list);
	mutex_unlock(&map_lock);
	kfree(o);
	return 0;
}

static const struct file_operations map_fops = {
	.owner = THIS_MODULE,
	.open = map_open,
	.release = map_release,
	.mmap = map_mmap,
};

/* What the guest's CPUs do at each moment is not for every user: see README. */
static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pvsched",
	.fops = &map_fops,
	.mode = 0400,
};

int pvs_map_init(void)
{
	unsigned int cpu;
	int ret = -ENOMEM;

	BUILD_BUG_ON(PAGE_SIZE != PVSCHED_PAGE_SIZE);
	map = (void *)get_zeroed_page(GFP_KERNEL);
	blank = (void *)get_zeroed_page(GFP_KERNEL);
	if (!map || !blank)
		goto free;
	map->magic = PVSCHED_MAGIC;
	map->version = PVSCHED_MAP_VERSION;
	map->slots = PVSCHED_PAGE_SIZE;
	map->size = PVSCHED_MAP_SIZE;
	for (cpu = 0; cpu < PVSCHED_MAP_CPUS; cpu++)
		map->slot[cpu] = PVSCHED_MAP_NO_SLOT;
	ret = misc_register(&device);
	if (!ret)
		return 0;
free:
	free_page((unsigned long)map);
	free_page((unsigned long)blank);
	return ret;
}

void pvs_map_exit(void)
{
	misc_deregister(&device);
	free_page((unsigned long)map);
	free_page((unsigned long)blank);
}

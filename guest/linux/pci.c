// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched guest driver: the PCI function, negotiation and life cycle (R1, R4).
 *
 * A device is started by probe, resume and the end of a function reset, and
 * stopped by their opposites; a start negotiates everything anew, so that no
 * state has to survive.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "intent.h"
#include "pvsched.h"

#define PVS_FEATURES_WANTED (PVSCHED_F_ALL & ~(PVSCHED_F_BAR | PVSCHED_F_GPA))

DEFINE_MUTEX(pvs_lock);
struct pvs_device *pvs_the_device;

/* Adds a bit; false if the device refused it (R4). */
static bool add_status(struct pvs_device *pvs, u32 bit)
{
	u32 status = pvs_read(pvs, PVSCHED_REG_DRIVER_STATUS) | bit;

	pvs_write(pvs, PVSCHED_REG_DRIVER_STATUS, status);
	return pvs_read(pvs, PVSCHED_REG_DRIVER_STATUS) == status;
}

static int check_identity(struct pvs_device *pvs)
{
	struct device *dev = &pvs->pdev->dev;
	u32 magic = pvs_read(pvs, PVSCHED_REG_MAGIC);
	u32 version = pvs_read(pvs, PVSCHED_REG_VERSION);

	if (magic != PVSCHED_MAGIC) {
		dev_err(dev, "magic %#x is not pvsched's\n", magic);
		return -ENODEV;
	}
	if (version >> 16 != PVSCHED_VERSION_MAJOR) {
		dev_err(dev,
			"the device speaks version %u.%u, this driver %u\n",
			version >> 16, version & 0xffff, PVSCHED_VERSION_MAJOR);
		return -ENODEV;
	}
	return 0;
}

static int negotiate(struct pvs_device *pvs)
{
	struct device *dev = &pvs->pdev->dev;
	u64 transport = pvs_transport_wanted == PVSCHED_TRANSPORT_GPA ?
				PVSCHED_F_GPA :
				PVSCHED_F_BAR;
	u64 offered;

	pvs_write(pvs, PVSCHED_REG_DRIVER_STATUS, 0);
	if (!add_status(pvs, PVSCHED_DRIVER_ACKNOWLEDGE) ||
	    !add_status(pvs, PVSCHED_DRIVER_DRIVER)) {
		dev_err(dev, "the device does not take a driver\n");
		return -EIO;
	}
	offered = lo_hi_readq(pvs->regs + PVSCHED_REG_HOST_FEATURES);
	if (!(offered & transport)) {
		dev_err(dev,
			"the device does not offer the transport asked for\n");
		return -EOPNOTSUPP;
	}
	pvs->transport = pvs_transport_wanted;
	pvs->features = offered & (PVS_FEATURES_WANTED | transport);
	lo_hi_writeq(pvs->features, pvs->regs + PVSCHED_REG_GUEST_FEATURES);
	if (!add_status(pvs, PVSCHED_DRIVER_FEATURES_OK)) {
		dev_err(dev, "the device refuses features %#llx\n",
			pvs->features);
		return -EIO;
	}
	return 0;
}

/* To stop: clear the intents, reset, and only then free the memory (R4). */
static void pvs_stop(struct pvs_device *pvs)
{
	mutex_lock(&pvs_lock);
	pvs_unbind(pvs, pvs->result == PVSCHED_RESULT_OK);
	pvs->running = false;
	pvs->result = PVSCHED_RESULT_NONE;
	pvs_doorbell_set(NULL);
	pvs_write(pvs, PVSCHED_REG_DRIVER_STATUS, 0);
	pvs_areas_unmap(pvs);
	mutex_unlock(&pvs_lock);
}

static int pvs_start(struct pvs_device *pvs)
{
	int ret;

	mutex_lock(&pvs_lock);
	ret = negotiate(pvs);
	if (!ret)
		ret = pvs_areas_map(pvs);
	if (!ret)
		ret = pvs_transport_set(pvs);
	if (!ret && !add_status(pvs, PVSCHED_DRIVER_OK)) {
		dev_err(&pvs->pdev->dev, "the device refuses DRIVER_OK\n");
		ret = -EIO;
	}
	if (ret) {
		/* FAILED hides the areas as a reset does, and tells why (R4). */
		add_status(pvs, PVSCHED_DRIVER_FAILED);
		pvs_areas_unmap(pvs);
	} else {
		pvs->running = true;
		if (pvs->features & PVSCHED_F_DOORBELL)
			pvs_doorbell_set(pvs->regs + PVSCHED_REG_DOORBELL);
		pvs_refresh(pvs);
	}
	mutex_unlock(&pvs_lock);
	return ret;
}

/* The host changed something (R5). One vector, nothing to acknowledge. */
static irqreturn_t on_change(int irq, void *data)
{
	struct pvs_device *pvs = data;

	mutex_lock(&pvs_lock);
	if (pvs->running)
		pvs_refresh(pvs);
	mutex_unlock(&pvs_lock);
	return IRQ_HANDLED;
}

static int claim(struct pvs_device *pvs)
{
	int ret = 0;

	mutex_lock(&pvs_lock);
	if (pvs_the_device)
		ret = -EBUSY;
	else
		pvs_the_device = pvs;
	mutex_unlock(&pvs_lock);
	if (ret)
		dev_err(&pvs->pdev->dev,
			"one pvsched device is driven already\n");
	return ret;
}

/* The hot-plug callbacks look at it without pvs_lock. */
static void disclaim(void)
{
	mutex_lock(&pvs_lock);
	cpus_read_lock();
	pvs_the_device = NULL;
	cpus_read_unlock();
	mutex_unlock(&pvs_lock);
}

static int map_registers(struct pvs_device *pvs)
{
	struct pci_dev *pdev = pvs->pdev;
	int ret;

	if (pci_resource_len(pdev, PVSCHED_BAR_REGS) < PVSCHED_REGS_SIZE) {
		dev_err(&pdev->dev, "BAR0 is too small for the registers\n");
		return -ENODEV;
	}
	ret = pci_request_regions(pdev, KBUILD_MODNAME);
	if (ret) {
		dev_err(&pdev->dev, "the BARs are taken: %pe\n", ERR_PTR(ret));
		return ret;
	}
	pvs->regs = pci_iomap(pdev, PVSCHED_BAR_REGS, PVSCHED_REGS_SIZE);
	if (pvs->regs)
		return 0;
	dev_err(&pdev->dev, "BAR0 cannot be mapped\n");
	pci_release_regions(pdev);
	return -ENOMEM;
}

static void unmap_registers(struct pvs_device *pvs)
{
	pci_iounmap(pvs->pdev, pvs->regs);
	pci_release_regions(pvs->pdev);
}

static int enable_interrupt(struct pvs_device *pvs)
{
	struct pci_dev *pdev = pvs->pdev;
	int ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX);

	if (ret < 0) {
		dev_err(&pdev->dev, "no MSI-X vector: %pe\n", ERR_PTR(ret));
		return ret;
	}
	ret = request_threaded_irq(pci_irq_vector(pdev, 0), NULL, on_change,
				   IRQF_ONESHOT, KBUILD_MODNAME, pvs);
	if (!ret)
		return 0;
	dev_err(&pdev->dev, "the interrupt cannot be had: %pe\n", ERR_PTR(ret));
	pci_free_irq_vectors(pdev);
	return ret;
}

static void disable_interrupt(struct pvs_device *pvs)
{
	free_irq(pci_irq_vector(pvs->pdev, 0), pvs);
	pci_free_irq_vectors(pvs->pdev);
}

static int pvs_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pvs_device *pvs = kzalloc(sizeof(*pvs), GFP_KERNEL);
	int ret;

	if (!pvs)
		return -ENOMEM;
	pvs->pdev = pdev;
	ret = claim(pvs);
	if (ret)
		goto free;
	ret = pvs_hooks_find(&pdev->dev);
	if (ret)
		goto disclaim;
	ret = pci_enable_device_mem(pdev);
	if (ret) {
		dev_err(&pdev->dev, "cannot be enabled: %pe\n", ERR_PTR(ret));
		goto disclaim;
	}
	ret = map_registers(pvs);
	if (ret)
		goto disable;
	ret = check_identity(pvs);
	if (ret)
		goto unmap;
	pci_set_master(pdev); /* MSI-X writes */
	pci_set_drvdata(pdev, pvs);
	ret = enable_interrupt(pvs);
	if (ret)
		goto unmaster;
	ret = pvs_start(pvs);
	if (ret)
		goto interrupt;
	ret = pvs_cpus_add(pvs);
	if (ret)
		goto stop;
	dev_info(&pdev->dev, "transport %s, features %#llx, %u slots\n",
		 pvs->pages ? "gpa" : "bar", pvs->features, pvs->nr_slots);
	return 0;

stop:
	pvs_stop(pvs);
interrupt:
	disable_interrupt(pvs);
unmaster:
	pci_clear_master(pdev);
unmap:
	unmap_registers(pvs);
disable:
	pci_disable_device(pdev);
disclaim:
	disclaim();
free:
	kfree(pvs);
	return ret;
}

static void pvs_remove(struct pci_dev *pdev)
{
	struct pvs_device *pvs = pci_get_drvdata(pdev);

	pvs_cpus_remove();
	pvs_stop(pvs);
	disable_interrupt(pvs);
	pci_clear_master(pdev);
	unmap_registers(pvs);
	pci_disable_device(pdev);
	disclaim();
	kfree(pvs);
}

/* kexec's next kernel finds its pages where it left them. */
static void pvs_shutdown(struct pci_dev *pdev)
{
	pvs_stop(pci_get_drvdata(pdev));
}

static int pvs_suspend(struct device *dev)
{
	pvs_stop(dev_get_drvdata(dev));
	return 0;
}

static int pvs_resume(struct device *dev)
{
	return pvs_start(dev_get_drvdata(dev));
}

static DEFINE_SIMPLE_DEV_PM_OPS(pvs_pm, pvs_suspend, pvs_resume);

static void pvs_reset_prepare(struct pci_dev *pdev)
{
	pvs_stop(pci_get_drvdata(pdev));
}

static void pvs_reset_done(struct pci_dev *pdev)
{
	pvs_start(pci_get_drvdata(pdev));
}

static const struct pci_error_handlers pvs_errors = {
	.reset_prepare = pvs_reset_prepare,
	.reset_done = pvs_reset_done,
};

static const struct pci_device_id pvs_ids[] = {
	{ PCI_DEVICE(PVSCHED_PCI_VENDOR, PVSCHED_PCI_DEVICE) }, {}
};
MODULE_DEVICE_TABLE(pci, pvs_ids);

static struct pci_driver pvs_driver = {
	.name = KBUILD_MODNAME,
	.id_table = pvs_ids,
	.probe = pvs_probe,
	.remove = pvs_remove,
	.shutdown = pvs_shutdown,
	.err_handler = &pvs_errors,
	.dev_groups = pvs_groups,
	.driver.pm = pm_sleep_ptr(&pvs_pm),
};

static int __init pvs_init(void)
{
	int ret = pvs_map_init();

	if (ret) {
		pr_err("no device for programs: %pe\n", ERR_PTR(ret));
		return ret;
	}
	ret = pvs_area_init();
	if (ret) {
		pr_err("no CPU hot-plug state: %pe\n", ERR_PTR(ret));
		goto map;
	}
	pvs_stats_init();
	ret = pci_register_driver(&pvs_driver);
	if (ret)
		goto stats;
	return 0;

stats:
	pvs_stats_exit();
	pvs_area_exit();
map:
	pvs_map_exit();
	return ret;
}

static void __exit pvs_exit(void)
{
	pci_unregister_driver(&pvs_driver);
	pvs_stats_exit();
	pvs_area_exit();
	pvs_map_exit();
}

module_init(pvs_init);
module_exit(pvs_exit);

MODULE_DESCRIPTION("pvsched paravirtual scheduling, guest driver");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");

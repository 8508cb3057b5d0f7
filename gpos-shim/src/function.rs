//! Finding the virtual PCI function in sysfs.
//!
//! The identity alone is QEMU's and may belong to another device, so finding it is only the first
//! half; whether the memory behind it is Darma's, the region's header says.

use std::fs;
use std::path::{Path, PathBuf};

use darma_abi::shared::{PCI_DEVICE, PCI_VENDOR};

use crate::error::Error;

/// Where Linux lists PCI functions.
pub const PCI_DEVICES: &str = "/sys/bus/pci/devices";

/// The function's folder below `devices`: the first with the right vendor and device.
///
/// # Errors
/// [`Error::Absent`] if there is none, or no PCI bus at all.
pub fn find(devices: &Path) -> Result<PathBuf, Error> {
    let mut folders: Vec<PathBuf> = fs::read_dir(devices)
        .map_err(|_| Error::Absent)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    folders
        .into_iter()
        .find(|folder| {
            hex_file(&folder.join("vendor")) == Some(PCI_VENDOR)
                && hex_file(&folder.join("device")) == Some(PCI_DEVICE)
        })
        .ok_or(Error::Absent)
}

/// Lets the function decode its memory addresses.
///
/// # Errors
/// If sysfs refuses, which it does to all but root.
pub fn enable(folder: &Path) -> Result<(), Error> {
    let path = folder.join("enable");
    fs::write(&path, "1").map_err(Error::file("enable the PCI function through", path))
}

fn hex_file(path: &Path) -> Option<u16> {
    let text = fs::read_to_string(path).ok()?;
    u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own below the system's scratch space, gone afterwards.
    struct Bus(PathBuf);

    impl Bus {
        fn new(name: &str, functions: &[(&str, &str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("darma-{name}-{}", std::process::id()));
            for (slot, vendor, device) in functions {
                let folder = root.join(slot);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("vendor"), vendor).unwrap();
                fs::write(folder.join("device"), device).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_function_is_found_among_others() {
        let bus = Bus::new(
            "found",
            &[
                ("0000:00:02.0", "0x1af4\n", "0x1001\n"),
                ("0000:00:05.0", "0x1af4\n", "0x1110\n"),
            ],
        );
        assert_eq!(find(&bus.0).unwrap(), bus.0.join("0000:00:05.0"));
    }

    #[test]
    fn a_bus_without_it_is_named_as_such() {
        let bus = Bus::new("absent", &[("0000:00:01.0", "0x8086\n", "nonsense")]);
        assert!(matches!(find(&bus.0), Err(Error::Absent)));
        assert!(matches!(
            find(Path::new("/nonexistent")),
            Err(Error::Absent)
        ));
    }
}

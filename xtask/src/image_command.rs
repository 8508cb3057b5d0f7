//! `cargo xtask image`: its words, and the packing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::ramdisk::{self, Parts, Rescue};
use xtask::terminal;

/// What goes into the image.
#[derive(Args)]
pub(crate) struct Pack {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// A bzImage
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// Its initial RAM file system
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Its command line
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0")]
    append: String,
    /// One line of darma.conf; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The bzImage of a rescue system, for when the first does not come up
    #[arg(long, value_name = "FILE")]
    rescue_kernel: Option<PathBuf>,
    /// Its initial RAM file system
    #[arg(long, value_name = "FILE", requires = "rescue_kernel")]
    rescue_initrd: Option<PathBuf>,
    /// Its command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "console=ttyS0",
        requires = "rescue_kernel"
    )]
    rescue_append: String,
}

/// Packs the image and writes it.
///
/// # Errors
/// A part cannot be read, or the nanokernel would refuse it.
pub(crate) fn run(options: &Pack) -> Result<()> {
    let mut parts = Parts::read(&options.kernel, options.initrd.as_deref(), &options.append)?;
    for setting in &options.set {
        let Some((key, value)) = setting.split_once('=') else {
            bail!("--set {setting}: give KEY=VALUE, as in --set dump.size=64M");
        };
        parts = parts.with(key.trim(), value.trim());
    }
    if let Some(kernel) = &options.rescue_kernel {
        let initrd = options.rescue_initrd.as_deref();
        let rescue = Parts::read(kernel, initrd, &options.rescue_append)?;
        parts = parts.with_rescue(Rescue {
            command_line: rescue.command_line,
            kernel: rescue.kernel,
            initrd: rescue.initrd,
        });
    }
    let image = ramdisk::build(&parts)?;
    std::fs::write(&options.output, &image)
        .with_context(|| format!("cannot write {}", options.output.display()))?;
    terminal::note(&format!(
        "{}: {} bytes",
        options.output.display(),
        image.len()
    ));
    Ok(())
}

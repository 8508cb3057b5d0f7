//! Under instruction counting two runs are one: what the nanokernel prints is the same, byte by byte.

use anyhow::Result;
use darma_abi::shared::CrashKind;

use super::{CLOUD, Scenario, crash};
use crate::laboratory::Laboratory;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "determinism".into(),
        claim: "two instruction-counted runs of a crash print the same, byte by byte".into(),
        kernels: CLOUD,
        seconds: 50,
        run: Box::new(twice),
    }]
}

fn twice(lab: &Laboratory) -> Result<()> {
    let mut earlier: Option<[Vec<u8>; 2]> = None;
    for name in ["determinism-1", "determinism-2"] {
        let run = crash::machine(name, CrashKind::SysrqC).run(lab)?;
        let files = ["nanokernel.log", "console.log"].map(|file| run.folder.join(file));
        let [log, console] = files.map(std::fs::read);
        let said = [log?, console?];
        if let Some(earlier) = &earlier {
            run.require(
                earlier[0] == said[0],
                "the nanokernel's log is not that of determinism-1",
            )?;
            run.require(
                earlier[1] == said[1],
                "Linux's console is not that of determinism-1",
            )?;
        }
        earlier = Some(said);
    }
    Ok(())
}

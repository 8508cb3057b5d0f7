//! What is known of a running kernel: where its tables and variables are, and how its structures
//! look. All of it is constant from the kernel's first instruction to its last, so it is gathered
//! while the kernel is well, and used when it is not.

use super::kallsyms::{Tables, Tokens};
use super::orc::{self, Orc};
use super::view::View;
use super::wanted::{Member, Members, Symbol, Symbols};
use crate::detect::Vitals;
use crate::kernel_map::KernelMap;
use crate::memory::GuestPhysRead;
use crate::vmcoreinfo::Note;
use darma_abi::units::{GuestPhys, GuestVirt};

/// Longest name of a task, with its final zero (`TASK_COMM_LEN`).
const TASK_NAME: usize = 16;

/// A kernel's tables.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(super) map: Option<KernelMap>,
    pub(super) tables: Tables,
    pub(super) tokens: Tokens,
    pub(super) symbols: Symbols,
    pub(super) members: Members,
}

/// Who was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub pid: u32,
    name: [u8; TASK_NAME],
}

impl Task {
    /// Its name, as the kernel keeps it: any bytes.
    pub fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

impl Facts {
    pub(super) const fn new() -> Self {
        Self {
            map: None,
            tables: Tables {
                offsets: 0,
                base: 0,
                count: 0,
                names: 0,
                markers: 0,
            },
            tokens: Tokens::new(),
            symbols: Symbols::new(),
            members: Members::new(),
        }
    }

    /// Addresses of symbols of interest.
    pub const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Places of members of interest.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Where the kernel's own tables of symbols are.
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The kernel's address map.
    pub const fn map(&self) -> Option<&KernelMap> {
        self.map.as_ref()
    }

    pub(super) fn view<'a, M: GuestPhysRead>(&self, memory: &'a M) -> Option<View<'a, M>> {
        self.map.map(|map| View { memory, map })
    }

    /// Whether the kernel that this was gathered of is still the one in memory.
    pub fn is_of(&self, memory: &impl GuestPhysRead) -> bool {
        let base = self.tables.names.wrapping_sub(16);
        self.tables.base != 0
            && self.view(memory).and_then(|view| view.u64(base)) == Some(self.tables.base)
    }

    /// Of the vital signs, those that tell what an act of the kernel means: whether it panics, how far up
    /// or down it is, and whether in order. Three reads.
    pub fn stage(&self, memory: &impl GuestPhysRead) -> Vitals {
        let Some(view) = self.view(memory) else {
            return Vitals::default();
        };
        let word = |symbol| view.u32(self.symbols.get(symbol)?);
        Vitals {
            panicking: word(Symbol::PanicCpu).map(|processor| processor != u32::MAX),
            system_state: word(Symbol::SystemState),
            emergency: word(Symbol::EmergencyRestart).map(|emergency| emergency != 0),
            ..Vitals::default()
        }
    }

    /// The vital signs, now: about twenty reads, most of them of page tables.
    pub fn vitals(&self, memory: &impl GuestPhysRead) -> Vitals {
        let Some(view) = self.view(memory) else {
            return Vitals::default();
        };
        let word = |symbol| view.u32(self.symbols.get(symbol)?);
        let long = |symbol| view.u64(self.symbols.get(symbol)?);
        let queue = self.per_processor(&view, Symbol::RunQueues);
        let in_queue = |member| Some(queue?.wrapping_add(self.members.bytes(member)?));
        Vitals {
            dies: word(Symbol::DieCounter),
            taint: long(Symbol::TaintedMask),
            switches: in_queue(Member::RqSwitches).and_then(|at| view.u64(at)),
            runnable: in_queue(Member::RqRunning).and_then(|at| view.u32(at)),
            jiffies: long(Symbol::Jiffies),
            log: self.log_head(&view),
            ..self.stage(memory)
        }
    }

    /// The task that runs, or ran last.
    pub fn task(&self, memory: &impl GuestPhysRead) -> Option<Task> {
        let view = self.view(memory)?;
        let task = view.u64(self.per_processor(&view, Symbol::CurrentTask)?)?;
        Some(Task {
            pid: view.u32(task.wrapping_add(self.members.bytes(Member::TaskPid)?))?,
            name: view.bytes(task.wrapping_add(self.members.bytes(Member::TaskName)?))?,
        })
    }

    /// The kernel's VMCOREINFO note, by the kernel's own pointer to it: no other can be taken for it.
    pub fn note(&self, memory: &impl GuestPhysRead) -> Option<Note> {
        let view = self.view(memory)?;
        let at = view.u64(self.symbols.get(Symbol::VmcoreNote)?)?;
        Note::at(memory, view.map.translate(memory, GuestVirt(at))?)
    }

    /// Begin of the mapping of all physical memory.
    pub fn page_offset(&self, memory: &impl GuestPhysRead) -> Option<u64> {
        self.view(memory)?
            .u64(self.symbols.get(Symbol::PageOffset)?)
    }

    /// Where physical memory the kernel keeps one of its variables: for tests that change one.
    pub fn place(&self, memory: &impl GuestPhysRead, symbol: Symbol) -> Option<GuestPhys> {
        let view = self.view(memory)?;
        view.map
            .translate(memory, GuestVirt(self.symbols.get(symbol)?))
    }

    /// Whether an address is in the kernel's own code.
    pub(super) fn is_text(&self, address: u64) -> bool {
        let within = |start, end| {
            let (start, end) = (self.symbols.get(start), self.symbols.get(end));
            start.is_some_and(|start| address >= start) && end.is_some_and(|end| address < end)
        };
        within(Symbol::TextStart, Symbol::TextEnd)
            || within(Symbol::InitTextStart, Symbol::InitTextEnd)
    }

    /// The kernel's own ORC tables, if they are of a layout that is known.
    pub(super) fn orc(&self) -> Option<Orc> {
        let range = |start, end| Some((self.symbols.get(start)?, self.symbols.get(end)?));
        orc::is_known(&self.members)
            .then(|| {
                Orc::between(
                    range(Symbol::OrcIpStart, Symbol::OrcIpEnd)?,
                    range(Symbol::OrcStart, Symbol::OrcEnd)?,
                )
            })
            .flatten()
    }

    /// Where processor 0 keeps a variable that each processor has.
    fn per_processor<M: GuestPhysRead>(&self, view: &View<'_, M>, symbol: Symbol) -> Option<u64> {
        let area = view.u64(self.symbols.get(Symbol::PerCpuOffset)?)?;
        Some(area.wrapping_add(self.symbols.get(symbol)?))
    }

    fn log_head<M: GuestPhysRead>(&self, view: &View<'_, M>) -> Option<u64> {
        let ring = view.u64(self.symbols.get(Symbol::Log)?)?;
        let place = self.members.bytes(Member::LogRing)?;
        let head = self.members.bytes(Member::LogHead)?;
        view.u64(ring.wrapping_add(place).wrapping_add(head))
    }
}

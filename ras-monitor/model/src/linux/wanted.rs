//! The names that are looked up in a kernel's own tables: symbols and structure members.
//!
//! A name that a kernel does not have is left out there, and whoever needs it does without.

macro_rules! symbols {
    ($($(#[$meta:meta])* $id:ident = $name:literal,)*) => {
        /// A symbol of interest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Symbol { $($(#[$meta])* $id,)* }

        /// Their names, in the order of [`Symbol`].
        pub(super) const SYMBOLS: &[&[u8]] = &[$($name.as_bytes(),)*];
    };
}

symbols! {
    /// Begin of the code.
    TextStart = "_stext",
    /// End of the code.
    TextEnd = "_etext",
    /// Begin of the code that is freed after the start.
    InitTextStart = "_sinittext",
    /// Its end.
    InitTextEnd = "_einittext",
    /// The reference page table.
    RootTable = "init_top_pgt",
    /// ORC: addresses.
    OrcIpStart = "__start_orc_unwind_ip",
    /// ORC: end of the addresses.
    OrcIpEnd = "__stop_orc_unwind_ip",
    /// ORC: entries.
    OrcStart = "__start_orc_unwind",
    /// ORC: end of the entries.
    OrcEnd = "__stop_orc_unwind",
    /// Type information.
    BtfStart = "__start_BTF",
    /// Its end.
    BtfEnd = "__stop_BTF",
    /// Head of the list of modules.
    Modules = "modules",
    /// Where the variables of each processor are.
    PerCpuOffset = "__per_cpu_offset",
    /// The running task, of each processor.
    CurrentTask = "current_task",
    /// The run queue, of each processor.
    RunQueues = "runqueues",
    /// The processor in `panic()`, or -1.
    PanicCpu = "panic_cpu",
    /// Oopses so far.
    DieCounter = "die_counter",
    /// What has marred the kernel.
    TaintedMask = "tainted_mask",
    /// How far up or down it is.
    SystemState = "system_state",
    /// It restarts without having gone down.
    EmergencyRestart = "reboot_emergency",
    /// Its time.
    Jiffies = "jiffies_64",
    /// Its log.
    Log = "prb",
    /// Where all of physical memory is mapped (a variable that holds the address).
    PageOffset = "page_offset_base",
    /// VMCOREINFO's text.
    VmcoreText = "vmcoreinfo_data",
    /// Its length.
    VmcoreSize = "vmcoreinfo_size",
    /// The note around a copy of it.
    VmcoreNote = "vmcoreinfo_note",
}

/// Addresses of symbols; those not found are absent.
#[derive(Clone, Debug)]
pub struct Symbols([u64; SYMBOLS.len()]);

impl Symbols {
    pub(super) const fn new() -> Self {
        Self([0; SYMBOLS.len()])
    }

    /// The address of a symbol. Of a variable that each processor has: its place in each area.
    pub fn get(&self, symbol: Symbol) -> Option<u64> {
        self.0
            .get(symbol as usize)
            .copied()
            .filter(|address| *address != 0)
    }

    /// Of equal names the first counts, as for the kernel's own look-up.
    pub(super) fn set(&mut self, index: usize, address: u64) {
        if let Some(slot) = self.0.get_mut(index)
            && *slot == 0
        {
            *slot = address;
        }
    }
}

macro_rules! members {
    ($($(#[$meta:meta])* $id:ident = $structure:literal . $name:literal,)*) => {
        /// A structure's member of interest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Member { $($(#[$meta])* $id,)* }

        /// Structure and member, in the order of [`Member`]; members of one structure are neighbours.
        pub(super) const MEMBERS: &[(&[u8], &[u8])] =
            &[$(($structure.as_bytes(), $name.as_bytes()),)*];
    };
}

members! {
    /// Switches between tasks so far.
    RqSwitches = "rq"."nr_switches",
    /// Tasks that want to run.
    RqRunning = "rq"."nr_running",
    /// A task's number.
    TaskPid = "task_struct"."pid",
    /// Its name.
    TaskName = "task_struct"."comm",
    /// Neighbours of a module.
    ModuleList = "module"."list",
    /// Its name.
    ModuleName = "module"."name",
    /// Where it is.
    ModuleLayout = "module"."core_layout",
    /// Its ORC tables.
    ModuleArch = "module"."arch",
    /// Its symbols.
    ModuleSymbols = "module"."kallsyms",
    /// Begin of a module's memory.
    LayoutBase = "module_layout"."base",
    /// Its size.
    LayoutSize = "module_layout"."size",
    /// The size of the code at its begin.
    LayoutText = "module_layout"."text_size",
    /// Number of ORC entries.
    ArchOrcs = "mod_arch_specific"."num_orcs",
    /// Their addresses.
    ArchOrcIp = "mod_arch_specific"."orc_unwind_ip",
    /// The entries.
    ArchOrc = "mod_arch_specific"."orc_unwind",
    /// ELF symbols.
    ListTable = "mod_kallsyms"."symtab",
    /// Their number.
    ListCount = "mod_kallsyms"."num_symtab",
    /// Their names.
    ListNames = "mod_kallsyms"."strtab",
    /// The log's ring of descriptors.
    LogRing = "printk_ringbuffer"."desc_ring",
    /// The newest descriptor.
    LogHead = "prb_desc_ring"."head_id",
    /// ORC: base of the caller's stack pointer.
    OrcSpRegister = "orc_entry"."sp_reg",
    /// ORC: what the frame looks like.
    OrcType = "orc_entry"."type",
    /// ORC: the last frame.
    OrcLast = "orc_entry"."end",
}

/// Places of members; those not found are absent.
#[derive(Clone, Debug)]
pub struct Members([u32; MEMBERS.len()]);

impl Members {
    const ABSENT: u32 = u32::MAX;

    pub(super) const fn new() -> Self {
        Self([Self::ABSENT; MEMBERS.len()])
    }

    /// The offset in its structure, in bits.
    pub fn bits(&self, member: Member) -> Option<u32> {
        self.0
            .get(member as usize)
            .copied()
            .filter(|bits| *bits != Self::ABSENT)
    }

    /// The offset in its structure, in bytes.
    pub fn bytes(&self, member: Member) -> Option<u64> {
        self.bits(member).map(|bits| u64::from(bits / 8))
    }

    pub(super) fn set(&mut self, index: usize, bits: u32) {
        if let Some(slot) = self.0.get_mut(index)
            && *slot == Self::ABSENT
        {
            *slot = bits;
        }
    }
}

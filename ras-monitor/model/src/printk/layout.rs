//! The offsets of the log ring's structures, as this kernel declares them.

use super::LogError;
use crate::vmcoreinfo::VmcoreInfo;

/// Offsets and sizes in bytes. Structures named first contain those named after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) desc_ring: u64,
    pub(super) text_ring: u64,
    pub(super) count_bits: u64,
    pub(super) descs: u64,
    pub(super) infos: u64,
    pub(super) head_id: u64,
    pub(super) tail_id: u64,
    pub(super) size_bits: u64,
    pub(super) data: u64,
    pub(super) desc_size: u64,
    pub(super) state: u64,
    pub(super) begin: u64,
    pub(super) next: u64,
    pub(super) info_size: u64,
    pub(super) sequence: u64,
    pub(super) time: u64,
    pub(super) text_length: u64,
}

impl Layout {
    /// Looks all of them up.
    pub(super) fn new(info: &VmcoreInfo<'_>) -> Result<Self, LogError> {
        let offset = |name: &'static str| info.offset(name).ok_or(LogError::Missing(name));
        let size = |name: &'static str| info.size(name).ok_or(LogError::Missing(name));
        // The values of struct prb_desc_ring and prb_data_ring are atomics: one more level.
        let counter = offset("atomic_long_t.counter")?;
        let atomic = |name: &'static str| offset(name).map(|at| at.wrapping_add(counter));
        let block = offset("prb_desc.text_blk_lpos")?;
        let end = |name: &'static str| offset(name).map(|at| at.wrapping_add(block));
        Ok(Self {
            desc_ring: offset("printk_ringbuffer.desc_ring")?,
            text_ring: offset("printk_ringbuffer.text_data_ring")?,
            count_bits: offset("prb_desc_ring.count_bits")?,
            descs: offset("prb_desc_ring.descs")?,
            infos: offset("prb_desc_ring.infos")?,
            head_id: atomic("prb_desc_ring.head_id")?,
            tail_id: atomic("prb_desc_ring.tail_id")?,
            size_bits: offset("prb_data_ring.size_bits")?,
            data: offset("prb_data_ring.data")?,
            desc_size: size("prb_desc")?,
            state: atomic("prb_desc.state_var")?,
            begin: end("prb_data_blk_lpos.begin")?,
            next: end("prb_data_blk_lpos.next")?,
            info_size: size("printk_info")?,
            sequence: offset("printk_info.seq")?,
            time: offset("printk_info.ts_nsec")?,
            text_length: offset("printk_info.text_len")?,
        })
    }
}

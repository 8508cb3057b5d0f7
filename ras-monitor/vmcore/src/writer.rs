//! Writes a core: what is there is looked at once, then everything has its place and goes out in order.

use std::io::Write;

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::dump::{Contents, DumpReader, NOTES_BYTES, NoteKind, Origin, StoreRead};
use darma_ras_model::fault_record::Registers;
use darma_ras_model::memory::{PAGE_BYTES, PAGE_BYTES_U64};
use darma_ras_model::vmcoreinfo::{Note, TEXT_MAX, VmcoreInfo};
use zerocopy::IntoBytes;

use crate::address_space::AddressSpace;
use crate::elf::{FILE_HEADER_BYTES, FileHeader, PROGRAM_HEADER_BYTES, ProgramHeader};
use crate::notes::{self, Notes};
use crate::pages::{Checked, Memory};
use crate::segments::{self, Segment};
use crate::{Error, Pages};

/// What became of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The failure's number.
    pub fault: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// Segments of memory.
    pub segments: usize,
    /// Pages of the dump that hold data.
    pub saved_pages: u64,
    /// Pages that were zero.
    pub zero_pages: u64,
    /// Pages that are in no segment: they had no room, or their data is damaged.
    pub lost_pages: u64,
    /// Chunks of 64 pages whose data does not fit its checksum.
    pub damaged_chunks: u64,
    /// Whether the processor's registers are in it: without, `drgn` has no trace of the running task.
    pub has_registers: bool,
    /// Whether VMCOREINFO is in it: without, `drgn` does not open it.
    pub has_vmcoreinfo: bool,
    /// The kernel's release.
    pub release: Option<String>,
    /// The build id of the kernel's ELF file, hexadecimal: what debug symbols must match.
    pub build_id: Option<String>,
    /// How far KASLR had moved the kernel.
    pub kernel_offset: Option<u64>,
    /// Where the direct map began, if the page tables show it.
    pub direct_map: Option<u64>,
}

impl Summary {
    /// Whether something is missing.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.lost_pages > 0
    }

    /// The core's own note about itself.
    fn text(&self) -> String {
        format!(
            "fault={}\npartial={}\nsaved_pages={}\nzero_pages={}\nlost_pages={}\ndamaged_chunks={}\n",
            self.fault,
            u8::from(self.is_partial()),
            self.saved_pages,
            self.zero_pages,
            self.lost_pages,
            self.damaged_chunks
        )
    }
}

/// Writes the core of a dump to `out`, from front to end.
///
/// # Errors
/// Nothing of the memory is left, it lies in too many pieces, it changed meanwhile, or `out` fails.
/// Damage is no error but counted in the summary.
pub fn write<S: StoreRead>(dump: &DumpReader<S>, out: &mut impl Write) -> Result<Summary, Error> {
    let checked = Checked::new(dump);
    let mut room = vec![0; NOTES_BYTES];
    let registers = dump.notes(&mut room).ok().and_then(|notes| {
        let note = notes.find(NoteKind::Registers)?;
        note.records::<Registers>().next()
    });
    let summary = Summary {
        damaged_chunks: checked.damaged_chunks(),
        ..Summary::default()
    };
    core(&checked, registers.as_ref(), &dump.origin(), summary, out)
}

/// Writes the core of any pages. `origin` says where VMCOREINFO's text is.
///
/// # Errors
/// As [`write`].
pub fn write_pages(
    pages: &impl Pages,
    registers: Option<&Registers>,
    origin: &Origin,
    out: &mut impl Write,
) -> Result<Summary, Error> {
    core(pages, registers, origin, Summary::default(), out)
}

fn core(
    pages: &impl Pages,
    registers: Option<&Registers>,
    origin: &Origin,
    mut summary: Summary,
    out: &mut impl Write,
) -> Result<Summary, Error> {
    let kinds = look_through(pages, &mut summary);
    let segments = segments::plan(pages, &kinds)?;
    summary.fault = origin.fault;
    summary.segments = segments.len();
    summary.has_registers = registers.is_some();

    let memory = Memory::new(pages);
    let mut room = [0; TEXT_MAX];
    let info = Note {
        text: GuestPhys(origin.vmcoreinfo),
        bytes: u32::try_from(origin.vmcoreinfo_bytes).unwrap_or(0),
    }
    .read(&memory, &mut room)
    .filter(|_| origin.vmcoreinfo != 0);
    let image = info.and_then(|info| describe(&memory, &info, &mut summary));

    let mut notes = Notes::new();
    if let Some(registers) = registers {
        notes.add(notes::REGISTERS, &notes::prstatus(registers, 0));
    }
    if let Some(info) = info {
        notes.add(notes::VMCOREINFO, info.text());
    }
    if let Some(registers) = registers {
        notes.add(notes::PROCESSOR, &notes::processor_state(registers));
    }
    notes.add(notes::OURS, summary.text().as_bytes());

    let headers = lay_out(
        &segments,
        image.as_ref(),
        summary.direct_map,
        notes.bytes().len(),
    )?;
    summary.bytes = put(pages, &kinds, &segments, &headers, notes.bytes(), out)?;
    Ok(summary)
}

fn look_through(pages: &impl Pages, summary: &mut Summary) -> Vec<Contents> {
    let mut page = [0; PAGE_BYTES];
    (0..pages.total())
        .map(|number| {
            let contents = pages.read(number, &mut page);
            match contents {
                Contents::Saved => summary.saved_pages += 1,
                Contents::Zero => summary.zero_pages += 1,
                Contents::Lost => summary.lost_pages += 1,
            }
            contents
        })
        .collect()
}

/// A run of virtual addresses, and the physical address of its first byte.
type Image = (std::ops::Range<u64>, GuestPhys);

/// Takes from VMCOREINFO and the page tables what the file says of the kernel.
fn describe(
    memory: &impl GuestPhysRead,
    info: &VmcoreInfo<'_>,
    summary: &mut Summary,
) -> Option<Image> {
    summary.has_vmcoreinfo = true;
    summary.release = info.release().and_then(printable);
    summary.build_id = info
        .value("BUILD-ID")
        .and_then(|text| printable(core::str::from_utf8(text).ok()?));
    summary.kernel_offset = info.kernel_offset();
    let space = AddressSpace::new(memory, info)?;
    summary.direct_map = space.direct_map();
    space.image()
}

/// Text from the dead kernel that is fit for a terminal and a package's name.
fn printable(text: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "+-._~".contains(letter);
    (!text.is_empty() && text.len() <= 128 && text.chars().all(plain)).then(|| text.to_owned())
}

fn lay_out(
    segments: &[Segment],
    image: Option<&Image>,
    direct_map: Option<u64>,
    notes_bytes: usize,
) -> Result<Vec<ProgramHeader>, Error> {
    // Without a known direct map the physical addresses stand for both.
    let base = direct_map.unwrap_or(0);
    let images = image.map_or(0, |image| {
        segments
            .iter()
            .filter(|segment| inside(segment, image).is_some())
            .count()
    });
    let count = 1 + segments.len() + images;
    let notes_at = FILE_HEADER_BYTES + PROGRAM_HEADER_BYTES * to_u64(count);
    let data_at = (notes_at + to_u64(notes_bytes)).next_multiple_of(PAGE_BYTES_U64);
    let mut headers = vec![ProgramHeader::notes(notes_at, to_u64(notes_bytes))];
    let mut copies = Vec::new();
    let mut offset = data_at;
    for segment in segments {
        let file_bytes = segment.file_pages * PAGE_BYTES_U64;
        let start = segment.start.0;
        headers.push(ProgramHeader::memory(
            offset,
            (base.wrapping_add(start), start),
            file_bytes,
            segment.end() - start,
        ));
        if let Some((virtual_address, from, to)) = image.and_then(|image| inside(segment, image)) {
            let skipped = from - start;
            copies.push(ProgramHeader::memory(
                offset + skipped.min(file_bytes),
                (virtual_address, from),
                file_bytes.saturating_sub(skipped).min(to - from),
                to - from,
            ));
        }
        offset += file_bytes;
    }
    headers.append(&mut copies);
    if headers.len() > segments::SEGMENTS_MAX + 500 {
        return Err(Error::TooManyPieces(headers.len()));
    }
    Ok(headers)
}

/// The part of the image that lies in this segment: virtual address, physical start and end.
fn inside(segment: &Segment, (addresses, physical): &Image) -> Option<(u64, u64, u64)> {
    let length = addresses.end - addresses.start;
    let from = segment.start.0.max(physical.0);
    let to = segment.end().min(physical.0.checked_add(length)?);
    (from < to).then(|| (addresses.start + (from - physical.0), from, to))
}

fn put(
    pages: &impl Pages,
    kinds: &[Contents],
    segments: &[Segment],
    headers: &[ProgramHeader],
    notes: &[u8],
    out: &mut impl Write,
) -> Result<u64, Error> {
    let count = u16::try_from(headers.len()).map_err(|_| Error::TooManyPieces(headers.len()))?;
    out.write_all(FileHeader::core(count).as_bytes())?;
    out.write_all(headers.as_bytes())?;
    out.write_all(notes)?;
    let mut written = size_of::<FileHeader>() + size_of_val(headers) + notes.len();
    let zeros = [0; PAGE_BYTES];
    let padding = written.next_multiple_of(PAGE_BYTES) - written;
    out.write_all(zeros.get(..padding).unwrap_or_default())?;
    written += padding;
    let mut bytes = to_u64(written);
    let mut page = [0; PAGE_BYTES];
    for segment in segments {
        for number in segment.first_page..segment.first_page + segment.file_pages {
            let known = usize::try_from(number).ok().and_then(|at| kinds.get(at));
            if pages.read(number, &mut page) != known.copied().unwrap_or(Contents::Lost) {
                return Err(Error::Changed);
            }
            out.write_all(&page)?;
            bytes += PAGE_BYTES_U64;
        }
    }
    out.flush()?;
    Ok(bytes)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

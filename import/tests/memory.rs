//! Importing takes no more memory than the file and 64 MB, whatever the file claims.
//!
//! One test, alone in its process: it counts what the allocator hands out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prost::Message;
use resnet_compiler::onnx::proto::{
    Dimension, GraphProto, ModelProto, NodeProto, Size, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto,
};
use resnet_import::{Options, import, import_bytes};

/// What importing may take beyond the file.
const MOST: usize = 64 << 20;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the layout has a size, which `alloc` demands of its caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: all memory of this allocator comes from `System.alloc` above, with the layout that the
        // caller gives back.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was in use at once, beyond what was before.
fn peak(run: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    run();
    PEAK.load(Relaxed) - before
}

fn node(op: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A chain of as many nodes as are let in, which begins at a picture or at a list of numbers.
fn chain(op: &str, from: &str) -> Vec<u8> {
    let size = |size| Dimension { value: Some(Size::DimValue(size)) };
    let shape = Some(TensorShapeProto { dim: [1, 3, 8, 8].map(size).to_vec() });
    let r#type = Some(TypeProto { tensor_type: Some(TensorType { elem_type: 1, shape }) });
    let input = ValueInfoProto { name: "x".to_owned(), r#type };
    let numbers = TensorProto {
        dims: vec![16],
        data_type: 7,
        int64_data: vec![1; 16],
        name: "n".to_owned(),
        ..TensorProto::default()
    };
    let mut before = from.to_owned();
    let mut nodes = Vec::new();
    for number in 0..44_000 {
        let name = format!("{number:x}");
        nodes.push(node(op, &before, &name));
        before = name;
    }
    let output = ValueInfoProto { name: before, r#type: None };
    let graph = GraphProto {
        node: nodes,
        initializer: vec![numbers],
        input: vec![input],
        output: vec![output],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        producer_name: "chain".to_owned(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// An older file of `torch.save` whose first pickle goes on like this without end.
fn endless(opcodes: &[u8]) -> Vec<u8> {
    endless_after(&[], opcodes)
}

fn endless_after(first: &[u8], opcodes: &[u8]) -> Vec<u8> {
    let magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    [&magic[..], first, &opcodes.repeat(4_000_000)].concat()
}

/// A safetensors file whose header is as long as one may be, of tensors without elements.
fn names() -> Vec<u8> {
    let entry =
        |number| format!(r#""{number:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let entries: Vec<String> = (0..37_000).map(entry).collect();
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

/// A zip archive of as many entries as one may have.
fn entries() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for number in 0..99_000 {
        writer.start_file(format!("{number:x}"), stored).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn no_file_takes_much_more_than_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/import");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("pth" | "pt" | "safetensors" | "onnx")) {
            continue;
        }
        let beside = std::fs::metadata(path.with_extension("onnx.data")).map_or(0, |m| m.len());
        let length = std::fs::metadata(&path).unwrap().len() + beside;
        let took = peak(|| {
            let imported = import(&path, &Options::default()).unwrap();
            imported.write_weights(&mut std::io::sink()).unwrap();
        });
        // A megabyte does for networks as small as these.
        assert!(took < length as usize + (1 << 20), "{} took {took}", path.display());
        count += 1;
    }
    assert!(count > 15, "only {count} files");
    for (what, file) in [
        ("a chain of ReLUs", chain("Relu", "x")),
        ("a chain of names", chain("Identity", "n")),
        ("a header of names", names()),
        ("an archive of entries", entries()),
        ("marks", endless(b"(")),
        ("dicts", endless(b"}")),
        ("tuples", endless(b")\x85")),
        ("numbers in the memo", endless(b"K\x01\x94")),
        ("pairs", endless(b"}U\x01aNs")),
        ("pairs of one dict", endless_after(b"}", b"U\x01aNs")),
        ("items of one list", endless_after(b"]", b")a")),
        ("classes", endless(b"ca\nb\n")),
        ("objects", endless_after(b"ca\nb\nq\0)q\x01", b"h\0h\x01\x81")),
    ] {
        // The file itself was there before.
        let took = peak(|| drop(import_bytes(file, what, &Options::default()).unwrap_err()));
        println!("{what}: {took} bytes");
        assert!(took < MOST, "{what} took {took} bytes");
    }
}

//! The ways in which training scripts save networks. `tests/golden/make_saved.py` made the files, which hold
//! the same tensors.

use std::path::PathBuf;

use resnet_import::{ImportError, Imported, Options, import, import_bytes};

use crate::common::contains;

fn file(name: &str) -> PathBuf {
    crate::file("saved").join(name)
}

fn options(key: &str, prefix: &str, without: &str) -> Options {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Options {
        name: Some("saved".to_owned()),
        key: given(key),
        prefix: given(prefix),
        without: given(without).into_iter().collect(),
        ..Options::default()
    }
}

fn read(name: &str, key: &str, prefix: &str, without: &str) -> Imported {
    import(file(name), &options(key, prefix, without)).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refusal(name: &str, key: &str, prefix: &str, without: &str) -> String {
    import(file(name), &options(key, prefix, without)).unwrap_err().to_string()
}

fn weights(imported: &Imported) -> Vec<u8> {
    let mut bytes = Vec::new();
    imported.write_weights(&mut bytes).unwrap();
    bytes
}

/// Without the first line, which names the file.
fn table(imported: &Imported) -> &str {
    imported.table.split_once('\n').unwrap().1
}

#[track_caller]
fn same(found: &Imported, expected: &Imported) {
    assert_eq!(table(found), table(expected));
    assert!(weights(found) == weights(expected), "other weights");
}

#[test]
fn however_it_is_saved_it_is_the_same_network() {
    let plain = read("plain.pth", "", "", "");
    assert!(!plain.notes.join("\n").contains("state dict"), "{:?}", plain.notes);
    for (name, key, prefix, said) in [
        ("a-name-of-21-letters-.pth", "", "", ""),
        ("training.pth", "", "", "the state dict is the one under `state_dict`"),
        ("training-5.pth", "", "", "under `model`"),
        ("training-old.pth", "", "", "under `model`"),
        ("training-old-4.pth", "", "", "under `net`"),
        ("nested.pth", "", "", "under `model.state_dict`"),
        ("nested.pth", "model.state_dict", "", ""),
        ("nested.pth", "model", "", "under `model.state_dict`"),
        ("tuple.pth", "", "", "under `1.0.weights`"),
        ("tuple.pth", "1.0", "", "under `1.0.weights`"),
        ("averaged.pth", "", "", "another one under `state_dict_ema`: `--key state_dict_ema`"),
        ("two.pth", "teacher", "", ""),
        (
            "moco.pth",
            "",
            "module.encoder_q",
            "`module.encoder_q.`: 20 under `module.encoder_k.`, `module.queue`",
        ),
        ("moco.pth", "state_dict", "module.encoder_q.", "left out: all tensors outside"),
        ("detector.pth", "", "backbone.body", "1 under `neck.`, 2 under `predictor.`"),
        ("attributes.pth", "", "", ""),
        ("module.pth", "", "", "a whole module, `__main__.Net`"),
        (
            "module-old.pth",
            "",
            "",
            "a whole module, `torch.nn.parallel.data_parallel.DataParallel`",
        ),
        ("trainer.pth", "", "", "under `model`"),
        ("arrays.pth", "", "", ""),
        ("arrays-2.pkl", "", "", ""),
        ("arrays-4.pkl", "", "", "under `model`"),
        ("arrays-5.pkl", "", "", "under `model`"),
        ("arrays-fortran-2.pkl", "", "", ""),
        ("arrays-fortran-4.pkl", "", "", ""),
        ("tensors-4.pkl", "", "", ""),
        ("dict.npy", "", "", ""),
        ("arrays.npz", "", "", ""),
    ] {
        let imported = read(name, key, prefix, "");
        println!("{name}");
        same(&imported, &plain);
        contains(&imported.notes.join("\n"), &[said]);
    }
    let averaged = read("averaged.pth", "state_dict_ema", "", "");
    assert!(weights(&averaged) != weights(&plain), "that is another network");
    assert!(weights(&read("two.pth", "student", "", "")) == weights(&averaged));
    assert!(weights(&read("moco.pth", "", "module.encoder_k", "")) == weights(&averaged));
    let features = read("plain.pth", "", "", "fc");
    same(&read("head.pth", "", "", "fc"), &features);
    contains(&features.notes.join("\n"), &["left out: 2 tensors of `fc`"]);
}

#[test]
fn an_expanded_tensor_has_its_number_over_and_over() {
    let bytes = weights(&read("expanded.pth", "", "", ""));
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("fc.bias").unwrap().data(), [1_f32.to_le_bytes(); 4].as_flattened());
}

#[test]
fn whole_networks_of_torchvision_are_their_state_dicts() {
    let state = read("imagenet.state.pth", "", "", "");
    for name in ["imagenet.pth", "imagenet-parallel.pth"] {
        same(&read(name, "", "", ""), &state);
    }
}

#[test]
fn what_to_choose_from_is_listed() {
    let looks = "20 tensors, 298 numbers, resnet4 of 4 classes";
    for (name, key, prefix, without, expected) in [
        (
            "two.pth",
            "",
            "",
            "",
            ["several networks in it", "\n  `--key student`: ", "\n  `--key teacher`: ", looks],
        ),
        (
            "moco.pth",
            "",
            "",
            "",
            [
                "several networks",
                "\n  `--prefix module.encoder_k`: ",
                "\n  `--prefix module.encoder_q`: ",
                looks,
            ],
        ),
        (
            "moco.pth",
            "",
            "queue",
            "",
            ["no tensor's name begins with `queue.`", "module.encoder_k", "encoder_q", looks],
        ),
        (
            "moco.pth",
            "",
            "module",
            "",
            ["several", "`--prefix module.encoder_k`", "`--prefix module.encoder_q`", looks],
        ),
        (
            "detector.pth",
            "",
            "",
            "",
            ["a network in a part of it", "\n  `--prefix backbone.body`: ", looks, ""],
        ),
        ("plain.pth", "", "", "head", ["`--without head` leaves nothing out", "", "", ""]),
        (
            "nested.pth",
            "state_dict",
            "",
            "",
            ["no dict of tensors under `state_dict`", "its keys are `model`, `queue`", "", ""],
        ),
        ("nested.pth", "queue", "", "", ["no dict of tensors under `queue`", "", "", ""]),
        (
            "quantised.pth",
            "",
            "",
            "",
            ["`conv1.weight` is quantised (and 1 more) in a way", "", "", ""],
        ),
        ("arrays-big.pkl", "", "", "", ["`conv1.weight` is an array of NumPy's whose", "", "", ""]),
        (
            "packed.npz",
            "",
            "",
            "",
            ["it is compressed, which `torch.save` and `numpy.savez`", "", "", ""],
        ),
        (
            "arrays.npz",
            "model",
            "",
            "",
            ["`--key` names a dict of a PyTorch file", "NumPy's", "", ""],
        ),
    ] {
        contains(&refusal(name, key, prefix, without), &expected);
    }
    let two = import(file("head.pth"), &options("", "", "")).unwrap();
    contains(&two.table, &["a ReLU stands between `fc.0` and `fc.2` (else `--without fc`)"]);
}

/// `name = os.system(arguments)`, to be put before the end of a pickle whose last value is a dict.
fn evil(name: &str, arguments: &[u8]) -> Vec<u8> {
    let name = [b"\x8c".as_slice(), &[name.len() as u8], name.as_bytes()].concat();
    [&name, b"cos\nsystem\n".as_slice(), arguments, b"\x85Rs."].concat()
}

fn with(name: &str, end: &[u8]) -> Result<Imported, ImportError> {
    let mut bytes = std::fs::read(file(name)).unwrap();
    assert_eq!(bytes.pop(), Some(b'.'));
    bytes.extend_from_slice(end);
    import_bytes(bytes, "evil.pkl", &options("", "", ""))
}

#[test]
fn nothing_is_run_and_what_would_be_is_not_needed_or_refused() {
    let text = b"\x8c\x04evil";
    let plain = read("plain.pth", "", "", "");
    same(&with("arrays-4.pkl", &evil("epoch", text)).unwrap(), &plain);
    let beside = with("arrays-2.pkl", &evil("epoch", text)).unwrap();
    same(&beside, &plain);
    contains(&beside.notes.join("\n"), &["left out: `epoch`, beside the tensors and none itself"]);
    // A NumPy array without elements.
    let array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R";
    for (end, what) in [
        (evil("fc.weight", text), "`fc.weight`"),
        (evil("fc.bias", text), "`fc.bias`"),
        (evil("queue", array), "`queue`"),
        // The state dict itself, and what is called with it.
        (b"\x85cos\nsystem\n\x8c\x01x\x85R.".to_vec(), "the object in it"),
        (b"\x94cos\nsystem\nh\x00\x85R.".to_vec(), "the object in it"),
    ] {
        let error = with("arrays-2.pkl", &end).unwrap_err();
        let ImportError::Code { what: found, global, .. } = &error else { panic!("{error}") };
        assert_eq!((found.as_str(), global.as_str()), (what, "os.system"));
    }
    // What a call made is called again, and given attributes, a pair and items.
    let built = b"\x8c\x01acbuiltins\ngetattr\n)R)R}\x8c\x01bNsb\x8c\x01cNs(Nes.";
    same(&with("arrays-2.pkl", built).unwrap(), &plain);
}

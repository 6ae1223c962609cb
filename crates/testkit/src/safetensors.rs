//! Writes safetensors files: well-formed ones, and with [`file_of`] broken ones to be refused.

/// A tensor with its bytes, as the hub stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubTensor {
    /// Its name.
    pub name: String,
    /// Its element type as files spell it: `BF16`, `F8_E4M3`.
    pub element: &'static str,
    /// Dimensions, the slowest first.
    pub shape: Vec<usize>,
    /// Its data.
    pub bytes: Vec<u8>,
}

/// A file with these tensors, in this order.
#[must_use]
pub fn write(tensors: &[&HubTensor]) -> Vec<u8> {
    let (mut entries, mut data) = (vec![r#""__metadata__":{"format":"pt"}"#.to_owned()], Vec::new());
    for HubTensor { name, element, shape, bytes } in tensors {
        let begin = data.len();
        data.extend(bytes);
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"{element}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        ));
    }
    file_of(&format!("{{{}}}", entries.join(",")), &data)
}

/// A file with this header, whatever it says, and this data.
#[must_use]
pub fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

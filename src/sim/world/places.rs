//! Where users are: names as the vendor writes them, with weights that favour the large ones.

/// By what a distribution is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// First-level regions of China, Hong Kong, Macao and Taiwan included. Users abroad have none.
    Province,
    /// Countries.
    Country,
}

/// Short forms without suffix, as the vendor's page describes them.
pub(super) const PROVINCES: [(&str, u32); 34] = [
    ("广东", 126),
    ("山东", 101),
    ("河南", 98),
    ("江苏", 85),
    ("四川", 83),
    ("河北", 74),
    ("湖南", 66),
    ("浙江", 66),
    ("安徽", 61),
    ("湖北", 58),
    ("广西", 50),
    ("云南", 47),
    ("江西", 45),
    ("辽宁", 42),
    ("福建", 42),
    ("陕西", 39),
    ("贵州", 38),
    ("山西", 35),
    ("重庆", 32),
    ("黑龙江", 31),
    ("新疆", 26),
    ("甘肃", 25),
    ("上海", 70),
    ("吉林", 24),
    ("内蒙古", 24),
    ("北京", 64),
    ("天津", 14),
    ("海南", 10),
    ("宁夏", 7),
    ("青海", 6),
    ("西藏", 4),
    ("香港", 14),
    ("澳门", 3),
    ("台湾", 12),
];

/// Chosen: the vendor names neither the countries nor their language. The first is where provinces are.
pub(super) const COUNTRIES: [(&str, u32); 14] = [
    ("中国", 860),
    ("新加坡", 26),
    ("马来西亚", 22),
    ("美国", 20),
    ("日本", 14),
    ("印度尼西亚", 12),
    ("泰国", 10),
    ("越南", 9),
    ("韩国", 8),
    ("澳大利亚", 6),
    ("加拿大", 5),
    ("英国", 4),
    ("德国", 3),
    ("阿联酋", 1),
];

/// The names of a dimension, in the order of a mask's bits.
pub(super) fn table(dimension: Dimension) -> &'static [(&'static str, u32)] {
    match dimension {
        Dimension::Province => &PROVINCES,
        Dimension::Country => &COUNTRIES,
    }
}

/// The names whose bits are set.
pub(super) fn names(dimension: Dimension, mask: u64) -> impl Iterator<Item = &'static str> {
    let named = table(dimension).iter().enumerate();
    named.filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, (name, _))| *name)
}

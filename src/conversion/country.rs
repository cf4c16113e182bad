//! Country codes: ISO 3166-1, officially assigned.

/// Whether it is an alpha-2 or alpha-3 code, in upper case.
pub(super) fn is_country(code: &str) -> bool {
    let (rows, _) = TABLE.as_bytes().as_chunks::<6>();
    match *code.as_bytes() {
        [a, b] => rows.binary_search_by_key(&[a, b], |[a, b, ..]| [*a, *b]).is_ok(),
        [a, b, c] => rows.iter().any(|[_, _, rest @ ..]| rest.starts_with(&[a, b, c])),
        _ => false,
    }
}

/// Alpha-2 and alpha-3 code of each country and a space, sorted: `ADAND ` is `AD` and `AND`.
const TABLE: &str = "\
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE BABIH BBBRB \
    BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR \
    BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR \
    CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK \
    FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS \
    GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN \
    ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO \
    LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD \
    MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER \
    NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM \
    PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP \
    SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF \
    TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY \
    UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_two_and_three_capital_letters() {
        let rows: Vec<&str> = TABLE.split_terminator(' ').collect();
        assert_eq!(rows.len(), 249);
        assert!(rows.is_sorted());
        for row in rows {
            assert!(row.len() == 5 && row.bytes().all(|byte| byte.is_ascii_uppercase()), "{row}");
            assert!(row.split_at_checked(2).is_some_and(|(two, three)| is_country(two) && is_country(three)), "{row}");
        }
    }

    #[test]
    fn codes_that_are_not_assigned_are_no_countries() {
        for code in ["", "D", "de", "deu", "UK", "EU", "XX", "AAA", "ND", "DEUT", "A AN", "ÄÖ", " AE"] {
            assert!(!is_country(code), "{code}");
        }
    }
}

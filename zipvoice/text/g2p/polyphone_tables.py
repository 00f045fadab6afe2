# SPDX-License-Identifier: Apache-2.0
"""Readings of characters and words that pypinyin's dictionaries do not settle. To mend one, add a line."""

TITLES = "先生|女士|小姐|老师|教授|医生|大夫|经理|主任|局长|校长|总|某|氏|同学|师傅|律师|警官|老板|爷爷|奶奶|叔叔|阿姨"
COUNT = "零一二两三四五六七八九十百千万几数多半每各"

LINE = "代码|注释|[大小汉]?字|文[字本]|诗|数据|歌词|台词|日志|记录|命令|内容|标题|空白|英文|[热清眼]?泪|脚印|白鹭"
LOOSE = frozenset(("一行", "三行", "五行", "单行", "同行"))
"""Words of pypinyin's dictionary that mean another thing in other places, so that the rules decide."""

RULES = r"""
长 zhang3 - [得大高出满成胖肥毛草斑痘牙相残]|在(?!于|度)|着|什么样|这么(?:大|高)
长 zhang3 (?:[省市县区镇乡村校院厂店局处科部班组队团营会社馆所站]|秘书|董事|理事|首席) -
长 chang2 - -
调 diao4 - [查研动离任走派令取职岗包子兵集遣配用度]|回(?!来|去)|入(?!味)|出(?!来)
调 diao4 [音声语曲腔色格基论步笔] -
调 tiao2 - -
还 huan2 - [钱款债书贷清给回账帐价乡俗礼愿击嘴手]|[你我他她它](?![们也都还就会要能是有在想]|.?(?:说|知道|好))
还 huan2 - 了|完|上(?!面|次|班|学|有)
还 huan2 - (?:人情|信用卡|房贷|车贷|花呗|本金|利息)
还 huan2 [借归偿奉送退交返欠未没] -
还 huan2 . \Z|[，。！？,.!?；;]
还 hai2 - -
得 de2 - (?:到|了(?!吗|吧)|过|奖|分|胜|病|名|票|罪|救|知|第|主|势|逞|失|此|手)
得 dei3 (?:\A|[，。！？,.!?；;：:、]) [少多赶快先再把去早马立等靠找让]
得 dei3 [我你他她它您咱们谁都也还就又可总只才真须非这那] (?!很|太|好|多|快|慢|高|不|真|像|更|最|那么|这么){han}
得 dei3 (?:人家|大家|自己|孩子|妈妈) (?!很|太|好|多|快|慢|高|不|真|像|更|最|那么|这么){han}
得 dei3 (?:爸爸|老师|今天|明天|现在|以后) (?!很|太|好|多|快|慢|高|不|真|像|更|最|那么|这么){han}
得 de5 {han} -
得 de2 - -
地 di4 (?:[这那每整哪某各]|[块片亩寸处]|当|本|外|土|工|田|满|遍|一|扫|拖|种|耕|下|落|倒|坐|跪|着|此|两|三) -
地 de5 {han}{2} {han}(?<![上下里中面方点铁图区位震球势形理毯板址])
地 di4 - -
重 chong2 - [新启装复申译印写建设做来修置构组温叠拍演考读放回返游述排录发连刷现逢归登铸塑燃振]|生(?!理)|算|命名
重 chong2 [{count}双] (?![要量大点视伤病担任型])
重 zhong4 - -
教 jiao4 [宗佛道请信督主兰新入传邪执说管家胎早幼文助] -
教 jiao4 - [会堂徒士义主皇派育室师授材训练条案程科学务导养员头诲唆化龄职具]
教 jiao1 - -
只 zhi1 [{count}这那哪另某] (?![有是能要会好得想不])
只 zhi3 - -
数 shu3 - 一数|[了着不]|到(?!据)|钱|星星|下|一下|清楚|出来|起来|数(?!据|字|量)
数 shu4 - -
为 wei2 [成称认作视改分变化升降定设选评命译换列转折以即均皆约是值码度者长宽高] -
为 wei4 - (?:[你我他她它您谁咱此何国]|人民|大家|自己|孩子|客户|用户|什么|了|中国|祖国|大众|社会|父母|家人)
为 wei4 (?:\A|[，。！？,.!?；;：:、]) -
为 wei2 - -
行 xing2 同 的(?:还?有|人|伙伴|朋友|旅伴)|者|至
行 xing2 (?:[伴路人手肩起共]|[与和跟][你我他她您]们?)同 -
行 hang2 同 -
行 hang2 [第前后共这那了每头末]五 -
行 hang2 五 {line}
行 xing2 五 -
行 hang2 [这那每某哪另起空换下上末首干入转隔了有写加删爱成第最再输]一 (?!人)
行 hang2 一 {line}
行 xing2 一 -
行 hang2 (?:第[{count}]+|[{count}]) (?![人动走程为礼李旅者进业政]|不行|吗|啊)
行 hang2 [这那哪某本] {line}|[删改里也都的内]
行 hang2 [把干入做在给从对懂爱]这 -
行 hang2 单 {line}
行 hang2 [双逐整多跨首末隔空换] (?!不)
行 hang2 - [首尾末号距宽里]|数(?!据)|间距|业|内人?
行 xing2 - -
了 liao3 {han}不 (?!起)
了 le5 - -
种 zhong3 [{count}这那哪各某此] -
种 zhong4 - [树花菜地田草粮稻麦豆瓜下了上着在果茶棉药]|玉米|水稻|小麦|庄稼|蔬菜|土豆
种 zhong3 - -
倒 dao3 - [了下闭塌霉台地卖手]|在(?!不)
倒 dao3 [跌摔推打病晕昏放滑绊撞扑颠压] -
倒 dao4 - -
背 bei1 - [着起上包负篓]|书包|了(?=.*包)|孩子|黑锅
背 bei4 - -
中 zhong4 - (?:了|过|奖|弹|毒|标|招|枪|计|箭|暑|邪|彩票|大奖)
中 zhong4 [看打猜击命选射投言考] (?!的|国|学|间|心|文)
中 zhong1 - -
干 gan4 - [了完得着吗嘛啥过掉这起事架劲仗活]|什么|不(?!净)|一
干 gan1 [晒烘吹擦晾哭很太口饼肉豆葡萄] -
干 gan1 - [净燥旱杯脆粮涉扰货洗冰]
干 gan4 [能在会要想苦实单蛮大] -
干 gan1 - -
空 kong4 - [出着白格隙闲缺位余]
空 kong4 [有没得抽腾填留] -
空 kong1 - -
量 liang2 - [一了身尺体血]{han}?
量 liang2 [测丈] -
量 liang4 - -
好 hao4 [爱喜癖嗜] -
好 hao4 - (?:客|奇|胜|学(?!生|校|习|霸)|斗|战|色|吃懒做|动|强|高骛远)
好 hao3 - -
曾 zeng1 - {title}
曾 zeng1 姓|老|小 -
曾 ceng2 - -
任 ren2 - {title}
任 ren2 姓|老 -
任 ren4 - -
仇 qiu2 - {title}
仇 qiu2 姓|老 -
仇 chou2 - -
单 shan4 - {title}
单 shan4 姓 -
单 dan1 - -
解 xie4 - {title}
解 xie4 姓 -
解 jie3 - -
朴 piao2 - {title}
朴 piao2 姓 -
朴 pu3 - -
区 ou1 姓 -
区 ou1 - (?:先生|女士|小姐|某)
区 qu1 - -
查 zha1 姓 -
查 zha1 - (?:先生|女士|小姐|某)
查 cha2 - -
盖 ge3 姓 -
盖 gai4 - -
华 hua4 姓 -
华 hua4 - (?:先生|女士|小姐)
华 hua2 - -
宁 ning4 姓 -
宁 ning4 - [可愿死肯缺]
宁 ning2 - -
石 dan4 [一二两三四五六七八九十百千万] (?:米|粮|谷|麦|稻|豆|酒)
石 shi2 - -
炸 zha2 - [鸡薯酱油串虾鱼糕肉豆春]|花生|丸子|鸡翅|薯条
炸 zha2 油 -
炸 zha4 - -
切 qie4 - [不合记身忌实]
切 qie1 - -
假 jia4 [放请休暑寒病婚产年事长度] -
假 jia4 - (?:期|日|条)
假 jia3 - -
散 san3 - [文户装光件沙]
散 san4 - -
尽 jin3 - [管快早量可]
尽 jin4 - -
降 xiang2 [投招劝诈] -
降 xiang2 - [服伏]
降 jiang4 - -
卷 juan3 - [起发入走土曲尺轴帘毛]
卷 juan4 [试考画案阅答交问上下第] -
卷 juan3 - -
扎 za1 [包捆] -
扎 zha1 - -
看 kan1 - (?:护|守|管|押|家狗|门狗|孩子|大门)
看 kan4 - -
传 zhuan4 [自列外水浒别小正左经] -
传 zhuan4 - [记略]
传 chuan2 - -
间 jian4 - [接隔谍断歇或]
间 jian1 - -
兴 xing4 - [趣致味]|高采烈
兴 xing4 [高尽扫助败雅] -
兴 xing1 - -
应 ying1 - [该当]
应 ying4 - [用对付聘邀急战酬验召]
应 ying1 - -
钉 ding4 - (?:钉子|在|上|住|死)
钉 ding1 - -
挑 tiao3 - [战拨逗衅灯起动明唆]
挑 tiao1 - -
饮 yin4 - 马
饮 yin3 - -
与 yu4 [参] -
与 yu4 - 会(?=者|人|代表|嘉宾)
与 yu3 - -
"""
"""For characters that stand alone: character, reading, what must stand before it, what after it (patterns, - for
anything). The first line that fits decides; the last one of a character is its usual reading."""

PHRASES = """
重庆 chong2 qing4, 朝鲜 chao2 xian3, 处女座 chu3 nv3 zuo4, 大夫 dai4 fu5, 卷子 juan4 zi5, 连累 lian2 lei5,
蒙骗 meng2 pian4, 缘分 yuan2 fen4, 时差 shi2 cha1, 一会儿 yi2 hui4 er2, 曾国藩 zeng1 guo2 fan1,
曾国荃 zeng1 guo2 quan2, 曾子 zeng1 zi3, 曾巩 zeng1 gong3, 曾志伟 zeng1 zhi4 wei3, 单田芳 shan4 tian2 fang1,
单雄信 shan4 xiong2 xin4, 单县 shan4 xian4, 华罗庚 hua4 luo2 geng1, 华佗 hua4 tuo2, 华山 hua4 shan1, 尉迟 yu4 chi2,
解晓东 xie4 xiao3 dong1, 解缙 xie4 jin4, 任正非 ren2 zheng4 fei1, 任贤齐 ren2 xian2 qi2, 任达华 ren2 da2 hua2,
任丘 ren2 qiu1, 仇英 qiu2 ying1, 查良镛 zha1 liang2 yong1, 葛优 ge3 you1, 朴槿惠 piao2 jin3 hui4,
朴智星 piao2 zhi4 xing1, 教课 jiao1 ke4, 教书 jiao1 shu1, 教会我 jiao1 hui4 wo3, 炸鸡 zha2 ji1,
炸酱面 zha2 jiang4 mian4, 薯条 shu3 tiao2, 与会者 yu4 hui4 zhe3, 长时间 chang2 shi2 jian1, 长江 chang2 jiang1,
长城 chang2 cheng2, 长途 chang2 tu2, 长期 chang2 qi1, 长假 chang2 jia4, 长发 chang2 fa4, 短发 duan3 fa4,
理发 li3 fa4, 洗发 xi3 fa4, 染发 ran3 fa4, 烫发 tang4 fa4, 护发 hu4 fa4, 假发 jia3 fa4, 卷发 juan3 fa4,
金发 jin1 fa4, 脱发 tuo1 fa4, 植发 zhi2 fa4, 发型 fa4 xing2, 发夹 fa4 jia1, 发廊 fa4 lang2, 还款 huan2 kuan3,
还钱 huan2 qian2, 还贷 huan2 dai4, 上调 shang4 tiao2, 下调 xia4 tiao2, 微调 wei1 tiao2, 调频 tiao2 pin2,
调低 tiao2 di1, 调高 tiao2 gao1, 调音 tiao2 yin1, 调酒 tiao2 jiu3, 调料 tiao2 liao4, 调味 tiao2 wei4,
调解 tiao2 jie3, 对调 dui4 diao4, 外调 wai4 diao4, 抽调 chou1 diao4, 模具 mu2 ju4, 重装 chong2 zhuang1,
重启 chong2 qi3, 重孙 chong2 sun1, 重阳 chong2 yang2, 多重 duo1 chong2, 三重 san1 chong2, 两重 liang3 chong2,
饮马 yin4 ma3, 数一数 shu3 yi5 shu3, 必须得 bi4 xu1 dei3, 总得 zong3 dei3, 非得 fei1 dei3, 内行 nei4 hang2,
外行 wai4 hang2, 第一行 di4 yi1 hang2, 请假 qing3 jia4, 度假 du4 jia4, 休假 xiu1 jia4, 宿舍 su4 she4,
校舍 xiao4 she4, 灾难 zai1 nan4, 遇难 yu4 nan4, 空难 kong1 nan4, 填空 tian2 kong4, 抽空 chou1 kong4,
供应 gong1 ying4, 照相 zhao4 xiang4, 青少年 qing1 shao4 nian2, 西藏 xi1 zang4, 藏语 zang4 yu3, 藏文 zang4 wen2,
藏区 zang4 qu1, 青藏 qing1 zang4, 川藏 chuan1 zang4, 音乐 yin1 yue4, 乐曲 yue4 qu3, 乐谱 yue4 pu3, 乐团 yue4 tuan2,
银行 yin2 hang2, 招行 zhao1 hang2, 工行 gong1 hang2, 农行 nong2 hang2, 建行 jian4 hang2, 央行 yang1 hang2,
支行 zhi1 hang2, 分行 fen1 hang2, 丸子 wan2 zi5
"""
"""Words that pypinyin's dictionary lacks or has in another sense."""
